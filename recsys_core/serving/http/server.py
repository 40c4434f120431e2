"""The process around the application: workers, signals, the folder they share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import BadInput
from ...portable.archive import Archive
from . import metrics
from .keys import KeyRing
from .settings import SETTINGS_VARIABLE, ServiceSettings, is_loopback
from .stats import lives

PREFIX = "recsys-service-"  # of the folder the workers share: then the process id
GRACE_SECONDS = 10  # for requests in flight, once it is told to stop


def serve(settings: ServiceSettings) -> int:
    """Serve until told to stop; the exit code. Raises BadInput, before anything listens, where something is wrong with what was asked."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    settings = settings.checked()
    keys = KeyRing.load(settings.keys_file)
    if not len(keys) and not is_loopback(settings.host):
        raise BadInput(
            f"Without API keys the service listens on this machine only; got --host {settings.host}.",
            "Make a key with `serve-key` and give --keys FILE, or set RECSYS_API_KEYS.",
        )
    keys.check(settings.tenants)
    for spec in settings.bundles:
        Archive.open(spec.path)  # every byte is checked; the workers open it again
    own = not settings.runtime
    if own:
        _tidy()
    folder = Path(settings.runtime or tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    settings = replace(settings, runtime=str(folder))
    os.environ[SETTINGS_VARIABLE] = settings.to_json()
    if settings.workers > 1:
        metrics.share(folder / "metrics")
    config = uvicorn.Config(
        "recsys_core.serving.http.server:application", factory=True, host=settings.host, port=settings.port, workers=settings.workers,
        lifespan="on", access_log=False, log_config=None, server_header=False, proxy_headers=False, timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS, backlog=2048, ws="none",
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again when it is done: what is below still has to run
    try:
        try:
            socket = config.bind_socket()
        except SystemExit:  # uvicorn's way to say that the port is taken
            raise BadInput(f"Nothing can listen on {settings.host}:{settings.port}; is it taken?", "Give another --port.") from None
        socket.listen(config.backlog)  # from here on who comes waits a moment, and is not sent away
        port = socket.getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        _say("listening", url=f"http://{host}:{port}", workers=settings.workers, keys=len(keys))
        if settings.workers > 1:
            Multiprocess(config, sockets=[socket]).run()
        else:
            server = uvicorn.Server(config)
            server.run([socket])
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        if own:
            shutil.rmtree(folder, ignore_errors=True)


def _tidy() -> None:
    """Folders of services that were killed before they could remove them."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not lives(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def application() -> Any:
    """What uvicorn calls in every worker."""
    from .app import make_app

    settings = ServiceSettings.from_json(os.environ[SETTINGS_VARIABLE])
    app = make_app(settings)
    inner = app.router.lifespan_context

    def with_signals(app: Any) -> Any:
        _drain_first(app.state.service)
        if settings.workers > 1:
            _end_with_parent()
        return inner(app)

    app.router.lifespan_context = with_signals
    return app


def _drain_first(service: Any) -> None:
    """Told to stop: /ready says no for `drain_seconds`, so that a load balancer looks away, and only then are the doors closed."""
    theirs = signal.getsignal(signal.SIGTERM)
    seconds = service.settings.drain_seconds

    def told(number: int, frame: Any) -> None:
        again, service.draining = service.draining, True
        if seconds and not again:
            timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
            timer.daemon = True
            timer.start()
        elif callable(theirs):
            theirs(number, frame)

    if callable(theirs) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, told)


def _end_with_parent() -> None:
    """Workers of a supervisor that was killed would hold the port for ever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _say(event: str, **fields: Any) -> None:
    print(json.dumps({"time": round(time.time(), 3), "event": event, "pid": os.getpid(), **fields}), file=sys.stderr, flush=True)
