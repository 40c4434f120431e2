"""The command line: a thin face over the same calls the app makes.

Exit codes: 0 done; 2 bad input, with one sentence on standard error; 1 a failure; 130 stopped by Ctrl-C.
Results go to standard output, everything else to standard error. `--json` prints one JSON value.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from ..errors import Cancelled, WorkbenchError

STOPPED = 130  # the shell's own code for Ctrl-C

app = typer.Typer(
    name="python -m recsys_core",
    help="Recommender workbench: read interaction files, train and compare recommenders, write lists.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _common(
    workspace: str | None = typer.Option(
        None, "--workspace", help="Workspace folder; else RECSYS_WORKSPACE, else ./workspace.", show_default=False
    ),
) -> None:
    if workspace:
        os.environ["RECSYS_WORKSPACE"] = workspace


def _register() -> None:
    from . import (
        ab_commands,
        ablation_command,
        ask_command,
        bundle_command,
        cold_start_command,
        data_commands,
        features_command,
        list_commands,
        persona_commands,
        serve_command,
        train_command,
        tune_command,
        update_command,
        workspace_commands,
    )

    for module in (
        data_commands,
        train_command,
        tune_command,
        list_commands,
        workspace_commands,
        persona_commands,
        ab_commands,
        ablation_command,
        cold_start_command,
        features_command,
        bundle_command,
        ask_command,
        update_command,
        serve_command,
    ):
        module.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Prints one sentence, never a traceback (RECSYS_DEBUG=1 shows it)."""
    _register_once()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = int(app(args=given, standalone_mode=False) or 0)
        return _end("Stopped.", STOPPED) if code == STOPPED else code
    except WorkbenchError as error:
        if isinstance(error, Cancelled):
            return _end("Stopped.", STOPPED)
        return _end(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _end("Stopped.", STOPPED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last door: whatever is left becomes one sentence
        if type(error).__name__ == "NoArgsIsHelpError":
            return _end(error.format_message(), 2)
        if hasattr(error, "format_message"):  # wrong usage, found by the option parser
            return _end(_usage(error, given), 2)
        if isinstance(error, OSError) and error.filename:
            return _end(f"'{error.filename}': {error.strerror}.", 2)
        if os.environ.get("RECSYS_DEBUG"):
            raise
        if isinstance(error, MemoryError):
            return _end("It ran out of memory. Use fewer factors, fewer items or a lighter model.", 1)
        first_line = (str(error).splitlines() or ["no message"])[0][:300]
        return _end(f"It stopped with an unexpected error ({type(error).__name__}: {first_line}). Set RECSYS_DEBUG=1 to see where.", 1)


def _usage(error: Exception, given: list[str]) -> str:
    """The parser's sentence, with the value it speaks of where it leaves that out."""
    text = " ".join(error.format_message().split()).rstrip(".") + "."
    names = getattr(getattr(error, "param", None), "opts", [])
    values = [value for name, value in zip(given, given[1:], strict=False) if name in names]
    values += [text.partition("=")[2] for text in given if text.partition("=")[0] in names and "=" in text]
    return text if not values or values[-1] in text else f"{text[:-1]}; got '{values[-1]}'."


def _end(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


def _register_once() -> None:
    if not app.registered_commands:
        _register()
