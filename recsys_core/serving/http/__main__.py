"""`python -m recsys_core.serving.http`: the service, without what it does not need of the workbench. The command `serve` is this."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy: a worker is one core; more cores are more workers

import argparse  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from ...errors import WorkbenchError  # noqa: E402
from .settings import BundleSpec, ServiceSettings  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The options of `serve`."""
    found = argparse.ArgumentParser(prog="python -m recsys_core serve", description="Serve bundles over HTTP.")
    add, default = found.add_argument, ServiceSettings(())
    add("--bundle", action="append", default=[], metavar="[TENANT=]FILE.zip[:WEIGHT]",
        help="A bundle; several share the users by weight, the first is control. With a tenant: only for its keys.")  # fmt: skip
    add("--host", default=default.host, help="Address to listen on; another than this machine's own needs API keys. Default: %(default)s.")
    add("--port", type=int, default=default.port, help="Default: %(default)s. 0: any that is free; the first line says which.")
    add("--workers", type=int, default=default.workers, help="Processes, one core each. Default: %(default)s.")
    add("--keys", metavar="FILE", help="API keys, a line each as `serve-key` prints it. Also read: RECSYS_API_KEYS.")
    add("--log", metavar="EVENTS", default="events.jsonl", help="File of all feedback; 'none': memory only. Default: %(default)s.")
    add("--sync", choices=("interval", "always"), default=default.sync,
        help="When an event is safe from a power cut: within 0.2 s, or before it is acknowledged. Default: %(default)s.")  # fmt: skip
    add("--exposures", metavar="FILE", help="CSV of who was shown which variant and what came of it, as the A/B page reads it.")
    add("--experiment", default=default.experiment, help="Name of the experiment; another name deals the users anew. Default: %(default)s.")
    add("--rate", type=float, default=default.rate, help="Requests a second of a key that names no rate of its own. Default: %(default)g.")
    add("--timeout-ms", type=int, default=default.timeout_ms, help="A request that takes longer gets 503. Default: %(default)s.")
    add("--max-body-bytes", type=int, default=default.max_body_bytes, help="Default: %(default)s.")
    add("--max-waiting", type=int, default=default.max_waiting, help="Requests that may wait in a worker. Default: %(default)s.")
    add("--max-users", type=int, default=default.max_users, help="Users whose state is kept in memory. Default: %(default)s.")
    add("--max-new-items", type=int, default=default.max_new_items,
        help="Items no bundle knows that events may bring; tenants, then their keys, share evenly. Default: %(default)s.")  # fmt: skip
    add("--half-life-days", type=float, default=default.half_life_days, help="How fast popularity is forgotten. Default: %(default)g.")
    add("--cache-users", type=int, default=default.cache_users, help="Users whose last answers are kept; 0: none. Default: %(default)s.")
    add("--cache-seconds", type=float, default=default.cache_seconds, help="For how long. Default: %(default)g.")
    add("--watch-seconds", type=float, default=default.watch_seconds, help="How often bundle files are looked at. Default: %(default)g.")
    add("--drain-seconds", type=float, default=default.drain_seconds,
        help="Told to stop, it says 'not ready' for so long before it closes. Default: %(default)g.")  # fmt: skip
    add("--quiet", action="store_true", help="No log line for requests that went well.")
    return found


def settings_of(arguments: Sequence[str]) -> ServiceSettings:
    """From the command line."""
    given = parser().parse_args(arguments)
    bundles = tuple(BundleSpec.parse(text) for text in given.bundle)
    log = None if given.log == "none" else given.log
    others = {name: value for name, value in vars(given).items() if name not in ("bundle", "keys", "log")}
    return ServiceSettings(bundles, keys_file=given.keys, log=log, **others)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; the exit code."""
    try:
        from .server import serve

        return serve(settings_of(sys.argv[1:] if arguments is None else arguments))
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
