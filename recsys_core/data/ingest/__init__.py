"""The door for raw files: recognise, guess, read, report. No row is lost in silence."""

from .guess import Guess, RoleGuess, guess_columns
from .opening import open_source
from .plan import Columns, IngestPlan
from .report import IngestReport, JoinReport, KCoreReport
from .run import IngestResult, ingest
from .source import Source

__all__ = [
    "Columns",
    "Guess",
    "IngestPlan",
    "IngestReport",
    "IngestResult",
    "JoinReport",
    "KCoreReport",
    "RoleGuess",
    "Source",
    "guess_columns",
    "ingest",
    "open_source",
]
