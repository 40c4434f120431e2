"""`serve` and `serve-key`: bundles over HTTP. The service runs in a process that loads none of the libraries that train."""

from __future__ import annotations

import os
import sys

import typer

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    app.command("serve", context_settings=PASS_ON, add_help_option=False)(serve)
    app.command("serve-key")(serve_key)


def serve(context: typer.Context) -> None:
    """Serve bundles over HTTP: lists, feedback, health. `serve --help` lists its options."""
    sys.stdout.flush()
    command = [sys.executable, "-m", "recsys_core.serving.http", *context.args]
    os.execv(sys.executable, command)  # this process becomes the service: signals and the exit code are its own


def serve_key(
    name: str = typer.Option(..., "--name", help="What the key is called in logs."),
    tenant: str = typer.Option("", "--tenant", help="Whose bundles it may use; 'admin': everybody's, and it may reload them."),
    rate: float | None = typer.Option(None, "--rate", help="Requests a second; default: the service's --rate."),
) -> None:
    """Make an API key: the key, shown this once, and the line for the key file, which holds only its hash."""
    from ..serving.http.keys import new_key
    from .output import say

    key, line = new_key(name, tenant, rate)
    say("The key. It is not kept anywhere; hand it over now:")
    print(key)
    say("The line for the key file:")
    print(line)
