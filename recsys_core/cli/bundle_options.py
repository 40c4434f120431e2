"""What `bundle` and `update` are asked alike."""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import BadInput

RUN = typer.Option(..., "--run", help="Folder of a run, or its name in the workspace.")
OUT = typer.Option(..., "--out", help="The file to write: FILE.zip.")
QUANTIZE = typer.Option(None, "--quantize", help="int8: whole numbers, a quarter of the size; kept only if lists stay.")
FLOAT16 = typer.Option(False, "--float16", help="Numbers of half the length; kept only if lists stay.")
USERS = typer.Option(True, "--users/--no-users", help="Take the histories of users along (under hashes of their ids).")
ITEMS = typer.Option(None, "--items", help="A table that describes the items, for a run made from files.")
COLUMN = typer.Option([], "--column", help="A column of the item table to take along; may be repeated. Default: title and categories.")
COMPARE = typer.Option(True, "--compare/--no-compare", help="Measure the usual smaller variants too, for the report.")
LICENCE = typer.Option("", "--licence", help="What whoever gets the file may do with it.")
THREADS = typer.Option(1, "--threads", help="CPU threads; 0 = all.")


def target_of(out: str) -> Path:
    """The file to write, before the work begins. Raises BadInput where it cannot be written."""
    target = Path(out).expanduser()
    if target.is_dir() or not target.parent.is_dir():
        raise BadInput(f"--out '{out}' cannot be written.", "Name a file in a folder that exists.")
    return target
