"""The last fence: whatever a file provokes leaves the package as one sentence, never as a traceback."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from ...errors import DataError, WorkbenchError

UNEXPECTED = "for a reason nobody foresaw"


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn unforeseen errors into a DataError; the traceback goes to the log. Its first argument is a source or a path."""

    @functools.wraps(function)
    def wrapper(source: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(source, *args, **kwargs)
        except (WorkbenchError, MemoryError):
            raise
        except Exception as error:
            name = kwargs.get("name") or getattr(source, "name", str(source))
            logging.getLogger(__name__).exception("%s failed on %s", function.__name__, name)
            kind = type(error).__name__
            raise DataError(
                f"'{name}' cannot be read {UNEXPECTED} ({kind}).", "Save it as plain CSV in UTF-8; please report the file."
            ) from error

    return wrapper
