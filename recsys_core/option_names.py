"""What the options of parameters are called where people choose: one vocabulary, so that an option has one name in all models.

By the name of the parameter, then by the value that is stored. Plug-ins of your own give `param(names=…)` instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

EASED = {"ignore": "Ignored", "log": "Logarithm", "linear": "As they are"}
STANDARD = {"z": "Standard scores", "minmax": "From 0 to 1", "rank": "Order only", "probability": "Probability"}

NAMES: dict[str, dict[Any, str]] = {
    "asked": {"next": "The next item", "any": "Any other item"},
    "candidates": {"new": "New items only", "all": "New and known items"},
    "cycles": {"auto": "Automatic", "no": "No"},
    "decimal": {".": "Point", ",": "Comma"},
    "encoder": {"transformer": "Transformer", "mlp": "Plain layers"},
    "fields": {"categories and text": "Categories and text", "categories": "Categories", "everything": "Everything"},
    "freshness": {"off": "Off", "prefer": "Fresh ones first", "require": "Fresh ones only"},
    "fuser": {"concat": "Side by side", "gated_sum": "Gated sum", "attention": "Attention", "bilinear": "Sum and product"},
    "given_first": {"random": "At random", "earliest": "The oldest"},
    "gradient": {"towards": "Moving towards", "implicit": "Implicit gradient"},
    "item_history": {"none": "Not read", "users": "Its users"},
    "learner": {"network": "Small network", "trees": "Trees"},
    "limits": {"learn": "Learnt"},
    "loss": {
        "softmax": "Ranking (softmax)",
        "full_softmax": "Ranking over all items (softmax)",
        "sampled_softmax": "Ranking over a sample (softmax)",
        "bpr": "Pairs (BPR)",
        "bpr_max": "Strongest of a sample (BPR-max)",
        "top1_max": "Strongest of a sample (TOP1-max)",
        "bce": "Chosen or not (BCE)",
        "gbce": "Chosen or not, corrected (gBCE)",
        "cosine_contrastive": "Angle alone (cosine)",
        "mse": "Ratings (squared error)",
        "squared": "Squared error",
        "kullback_leibler": "Kullback-Leibler",
    },
    "method": {"ridge": "Weighted sum (ridge)", "kernel": "Likeness (kernel)", "network": "Small network"},
    "network": {"linear": "Linear", "dense": "Dense layers", "hidden": "Hidden layers", "tanh": "Curved (tanh)"},
    "new_users": {"skip": "Left out", "fallback": "Tested on popular items"},
    "normalization": STANDARD,
    "optimizer": {"adam": "Adam", "adamw": "AdamW", "adagrad": "Adagrad", "sgd": "Plain steps (SGD)"},
    "pooling": {"attention": "Attention", "mean": "Mean"},
    "precision": {"fastest": "Fastest here", "float32": "32 bits", "bfloat16": "16 bits (bfloat16)"},
    "ranking": {"likely": "Likely choices", "rating": "Predicted rating"},
    "rule": {"reciprocal": "Reciprocal places", "borda": "Points (Borda)", "combmnz": "Scores and agreement (CombMNZ)"},
    "sampler": {
        "uniform": "Any item",
        "popularity": "Popular items",
        "in_batch": "Chosen in the same step",
        "hard": "The hardest",
        "mixed": "Mixed",
    },
    "scale": STANDARD
    | {"choose": "Whichever is better", "auto": "Automatic", "standard": "Standard", "log": "Logarithm", "quantile": "By rank (quantiles)"},
    "schedule": {"constant": "Constant", "cosine": "Smooth fall (cosine)", "plateau": "Halved at a standstill (plateau)"},
    "similarity": {"asymmetric": "Asymmetric", "cosine": "Cosine"},
    "step_sizes": {"one": "One for all", "each": "One for each layer", "fixed": "Fixed"},
    "tasks": {"users": "Users", "users and items": "Users and items", "domains": "Categories of a user"},
    "text_encoder": {"as chosen": "As set for the data", "sentence": "Sentence encoder"},
    "towards": {"less_known": "Less known items", "own_level": "The user's own level"},
    "unit": {"s": "Seconds", "ms": "Milliseconds"},
    "user": {"vector": "Numbers of their own", "none": "Not used"},
    "validation": {"random": "At random", "leave_last": "The last items", "global_time": "By time"},
    "values": EASED,
    "variant": {"zp": "Both", "zr": "Scores near zero", "pm": "Shown to the judge"},
    "weighting": EASED
    | {
        "binary": "All alike",
        "none": "All alike",
        "item_idf": "Inverse popularity",
        "user_idf": "Inverse activity",
        "tfidf": "TF-IDF",
        "bm25": "BM25",
    },
    "weights": {"learn": "Learnt", "equal": "Equal"},
    "which": {"random": "At random", "newest": "The newest"},
}


def plain_option(value: Any) -> str:
    """A value without a name, as people read it."""
    text = "not set" if value is None else str(value).replace("_", " ")
    return text[:1].upper() + text[1:]


def named(help: str, names: Mapping[Any, str]) -> str:
    """A help text that explains options by their values ("mse: …"), with their names instead ("Ratings: …").

    Values are named where a colon follows, in brackets or quotes, and wherever they are no words: with an underscore, without a vowel,
    or as the letters of a name."""
    values = sorted((str(value) for value in names), key=len, reverse=True)
    if not values:
        return help
    odd = [value for value in values if "_" in value or not set(value) & set("aeiou") or f"({value.upper()})" in names[value]]
    one, any_odd = ("|".join(map(re.escape, some)) for some in (values, odd))
    forms = [
        rf"(?:{one})(?=(?:(?:, | and )(?:{one}))*:)",
        rf"(?<=['(])(?:{one})(?=[')])",
        *([rf"(?<!')(?:{any_odd})(?!\w)"] if odd else []),
    ]
    return re.sub(rf"(?<!\w)(?:{'|'.join(forms)})", lambda found: names[found[0].lower()], help, flags=re.IGNORECASE)
