"""The core of the recommender workbench: data, models, fusion, evaluation, runs and jobs, without a browser."""

__version__ = "0.6.0"
