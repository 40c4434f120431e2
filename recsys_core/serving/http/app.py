"""The routes of the service. `make_app(settings)` is one worker's application."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from ... import __version__
from ...errors import WorkbenchError
from . import schemas
from .docs_page import docs_page
from .encoding import encode
from .gate import Gate, read_body
from .keys import KeyRing
from .limits import MOST_HISTORY
from .logs import JsonLog
from .openapi import DOCUMENTED, describe
from .problems import Problem, from_workbench
from .service import Service
from .settings import ServiceSettings

CHUNK = 8  # entries of a batch that are computed before somebody else gets a turn


def make_app(settings: ServiceSettings, keys: KeyRing | None = None, log: JsonLog | None = None) -> FastAPI:
    """The application of one worker; its bundles are opened while it starts, in the background: `/ready` says when."""
    service = Service(settings, KeyRing.load(settings.keys_file) if keys is None else keys, log)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_load_and_watch(service))
        try:
            yield
        finally:
            service.draining = True
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.get_running_loop().run_in_executor(None, service.close)

    app = FastAPI(
        title="Recommender service", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False,
        description="Lists for users and for histories, feedback that changes the next list, and how the service is doing.",
    )  # fmt: skip
    app.state.service = service
    app.add_middleware(Gate, service=service)
    app.add_exception_handler(HTTPException, _router_said)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    _add_routes(app)
    return app


async def _load_and_watch(service: Service) -> None:
    """Open the bundles, again and again until it works; then look every few seconds whether one was replaced."""
    seconds, looked = service.settings.watch_seconds, 0.0
    while True:
        try:
            await asyncio.to_thread(service.watch if service.loaded else service.load)
        except Exception as error:
            service.log("failed", what="watching" if service.loaded else "loading", error=f"{type(error).__name__}: {str(error)[:300]}")
        looked = time.time()
        while time.time() - looked < seconds and not service.look_now(looked):
            await asyncio.sleep(min(seconds, 0.5))


async def _router_said(request: Request, error: Exception) -> Response:
    """404 and 405, in the form of all other refusals."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:  # the router names the methods of the first route with this path alone
        routes = [route for route in request.app.routes if getattr(route, "path", None) == request.scope["path"]]
        headers["Allow"] = ", ".join(sorted({method for route in routes for method in route.methods or ()}))
    told = {
        404: ("There is nothing at this address.", "The addresses are listed at /docs."),
        405: (f"This address does not take {request.method[:20]}.", f"It takes {headers.get('Allow')}."),
    }
    problem = Problem(error.status_code, *told.get(error.status_code, (str(error.detail), "")), headers)
    return Response(problem.body(), problem.status, problem.headers, "application/json")


# ---- the routes ------------------------------------------------------------------------------------
def _add_routes(app: FastAPI) -> None:
    routes: tuple[tuple[str, str, Callable[..., Any]], ...] = (
        ("GET", "/v1/recommend", recommend_one), ("POST", "/v1/recommend", recommend), ("POST", "/v1/feedback", feedback),
        ("GET", "/v1/similar", similar), ("POST", "/v1/similar", similar), ("POST", "/v1/explain", explain),
        ("POST", "/v1/admin/reload", reload), ("GET", "/health", health), ("GET", "/ready", ready), ("GET", "/metrics", metrics),
    )  # fmt: skip
    for method, path, do in routes:
        app.add_api_route(path, do, methods=[method], response_model=None, **DOCUMENTED[method, path])
    app.add_route("/docs", _docs, include_in_schema=False)


async def recommend_one(request: Request) -> Response:
    asked = _query(request, {"user", "k", "history", "item"}, lists={"history"})
    item = asked.pop("item", None)
    body = schemas.check(schemas.RecommendRequest, asked | ({} if item is None else {"context": {"item": item}}), strict=False)
    service, tenant = _whose(request)
    return await _one(request, service.recommend, tenant, body)


async def recommend(request: Request) -> Response:
    return await _one_or_many(request, Service.recommend, "requests", schemas.RecommendRequest, schemas.RecommendBatch, b"answers")


async def feedback(request: Request) -> Response:
    key = request.scope["state"]["key"]

    def take(service: Service, *asked: Any) -> bytes:
        return service.feedback(*asked, key=key)

    return await _one_or_many(request, take, "events", schemas.FeedbackRequest, schemas.FeedbackBatch, b"receipts")


async def similar(request: Request) -> Response:
    if request.method == "GET":
        body = schemas.check(schemas.SimilarRequest, _query(request, {"item", "k"}), strict=False)
    else:
        body = schemas.check(schemas.SimilarRequest, await _json(request))
    service, tenant = _whose(request)
    return await _one(request, service.similar, tenant, body)


async def explain(request: Request) -> Response:
    body = schemas.check(schemas.ExplainRequest, await _json(request))
    service, tenant = _whose(request)
    return await _one(request, service.explain, tenant, body)


async def reload(request: Request) -> Response:
    """Without keys whoever sits at this machine may; else an admin."""
    state = request.scope["state"]
    service: Service = state["service"]
    if len(service.keys) and not state["key"].is_admin:
        raise Problem(403, "This key may not be used for this.", "Reloading takes a key of the tenant 'admin'.")
    if not service.loaded:
        raise Problem(503, "The bundles are being loaded.", "Try again in a moment.", {"Retry-After": "1"})
    return _json_response({"variants": await asyncio.to_thread(service.reload)})


async def health(request: Request) -> Response:
    state = request.scope["state"]
    service: Service = state["service"]
    if state["key"] is None or not service.loaded:
        return _json_response(service.health(state["key"]))
    return _json_response(await service.health_in_time(state["key"]))  # also while the work thread is stuck


async def ready(request: Request) -> Response:
    """For load balancers: whether to send requests here."""
    service: Service = request.scope["state"]["service"]
    if not service.ready:
        loading = "The bundles cannot be opened." if service.failed else "The bundles are being loaded."
        why = "It is shutting down." if service.draining else loading if not service.loaded else "A request hangs."
        raise Problem(503, why, "", {"Retry-After": "1"})
    return _json_response({"ready": True})


async def metrics(request: Request) -> Response:
    """Of the key's tenant; for an admin, and where there is one tenant alone, of all and of the process."""
    state = request.scope["state"]
    text = await asyncio.get_running_loop().run_in_executor(None, state["service"].figures, state["key"])
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _docs(request: Request) -> Response:
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:"
    }
    return Response(docs_page(request.app.openapi()), 200, headers, "text/html; charset=utf-8")


# ---- from a request to an answer ---------------------------------------------------------------------
def _whose(request: Request) -> tuple[Service, Any]:
    state = request.scope["state"]
    service: Service = state["service"]
    return service, service.tenant(state)


async def _json(request: Request) -> dict[str, Any]:
    service: Service = request.scope["state"]["service"]
    return schemas.read_json(await read_body(request.scope, request.receive, service.settings.max_body_bytes))


def _query(request: Request, known: set[str], lists: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """The parameters of an address, each once (a list: as often as it is long)."""
    try:
        pairs = parse_qsl(request.scope["query_string"].decode("ascii"), True, errors="strict", max_num_fields=MOST_HISTORY + 10)
    except ValueError as error:
        raise Problem(400, f"The address cannot be read ({str(error)[:80]}).", "Encode its parameters in UTF-8.") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in known:
            raise Problem(422, f"There is no parameter '{name[:60]}' here.", f"Known are: {', '.join(sorted(known))}.")
        if name in lists:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Problem(422, f"The parameter '{name}' is there twice.")
        else:
            found[name] = value
    return found


async def _one(request: Request, do: Callable[..., bytes], tenant: Any, body: Any) -> Response:
    state = request.scope["state"]
    try:
        answer = await state["service"].work.do(do, tenant, body, state["log"])
    except WorkbenchError as error:
        raise from_workbench(error) from None
    return Response(answer, media_type="application/json")


async def _one_or_many(
    request: Request, do: Callable[..., bytes], field: str, one: type[schemas.Strict], many: type[schemas.Strict], answered: bytes
) -> Response:
    given = await _json(request)
    service, tenant = _whose(request)
    bound = do.__get__(service)
    if field not in given:
        return await _one(request, bound, tenant, schemas.check(one, given))
    entries = getattr(schemas.check(many, given), field)
    state = request.scope["state"]
    if len(service.keys):
        service.limiter.take(state["key"], len(entries) - 1)
    until = time.monotonic() + service.work.seconds
    answers: list[bytes] = []
    for at in range(0, len(entries), CHUNK):
        some = entries[at : at + CHUNK]
        found = await service.work.do(service.each, bound, tenant, some, until, until=until)
        answers += found
        if len(found) < len(some):
            rule = f"This took longer than {service.settings.timeout_ms:,} ms; {len(answers)} of {len(entries)} entries were done."
            raise Problem(503, rule, "Send the others again, fewer at a time.", {"Retry-After": "1"})
    state["log"]["entries"] = len(entries)
    return Response(b'{"%s":[%s]}' % (answered, b",".join(answers)), media_type="application/json")


def _json_response(value: Any) -> Response:
    return Response(encode(value), media_type="application/json")
