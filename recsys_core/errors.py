"""The error tree. Every error is written for the person who meets it.

`message` gives the rule and the value that broke it; `hint` says what to do next. The app and the
command line print both and never a traceback; `exit_code` is what the command line ends with.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """Base of everything this package raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BadInput(WorkbenchError):
    """Something the user gave cannot be used."""

    exit_code = 2


class DataError(BadInput):
    """A file or table cannot become a dataset."""


class ParamError(BadInput):
    """A parameter has an unknown name or a value outside its rule."""


class NotFound(BadInput):
    """A name, key or id that does not exist."""


class Unsupported(BadInput):
    """The model or the data cannot do what was asked (e.g. no times, no ratings, no explanation)."""


class TooLarge(BadInput):
    """The work would not fit in memory; says what would."""


class JobFailed(WorkbenchError):
    """A background job ended with an error."""


class Cancelled(WorkbenchError):
    """The user asked to stop. Raised by `RunContext.check()`, once a batch."""

    def __init__(self, message: str = "Cancelled.", hint: str = "") -> None:
        super().__init__(message, hint)
