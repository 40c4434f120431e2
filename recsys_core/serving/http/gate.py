"""What every request passes before anything is computed: its id, its key, its rate, its size; and what is written down of it after."""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import TYPE_CHECKING, Any

from .keys import Key
from .limits import BODY_SECONDS
from .problems import Problem
from .settings import is_loopback

if TYPE_CHECKING:
    from .service import Service

OPEN = {"/health", "/ready", "/docs", "/openapi.json"}  # answered without a key; /health then says only whether all is well
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LOCAL_TENANT = Key("local", "", "", None, 0)


class Gate:
    """ASGI middleware around the routes. Routes read `scope["state"]`: key, service, and note down what the log line should say."""

    def __init__(self, app: Any, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        service, began = self.service, time.perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if _ID.fullmatch(given) else os.urandom(8).hex().encode()
        noted: dict[str, Any] = {"service": service, "key": None, "headers": headers, "log": {}}
        scope["state"] = noted
        sent = {"status": 500, "bytes": 0, "begun": False}

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                sent["status"], sent["begun"] = message["status"], True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id), *_SAFE]
            else:
                sent["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            try:
                noted["key"] = self._admit(scope["path"], headers)
                await self.app(scope, receive, answer)
            except Problem as problem:
                await _refuse(answer, problem, sent)
            except Exception as error:  # the last door: whatever is left becomes one sentence, the log has what it was
                service.log("failed", id=request_id.decode(), path=scope["path"], error=f"{type(error).__name__}: {str(error)[:300]}")
                await _refuse(
                    answer, Problem(500, "The service failed at this request.", f"Its log has request {request_id.decode()}."), sent
                )
        finally:
            seconds = time.perf_counter() - began
            service.count(scope, sent["status"], seconds)
            if not service.log.quiet or sent["status"] >= 500:
                key = noted["key"]
                service.log(
                    "request", id=request_id.decode(), method=scope["method"], path=scope["path"][:120], status=sent["status"],
                    ms=round(1000 * seconds, 3), bytes=sent["bytes"], key=key.name if key else None, **noted["log"],
                )  # fmt: skip

    def _admit(self, path: str, headers: dict[bytes, bytes]) -> Key | None:
        """Whose request it is. Without keys, who may ask is whoever sits at this machine: the Host header must name it, so that a web
        page cannot have a browser ask on its behalf under a name of its own (DNS rebinding)."""
        service = self.service
        if not len(service.keys):
            host = headers.get(b"host", b"").decode("latin-1")
            name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
            if not is_loopback(name):
                raise Problem(403, "Without API keys this service answers only requests to this machine.", "Ask 127.0.0.1.")
            return _LOCAL_TENANT
        bearer = headers.get(b"authorization", b"")
        given = bearer[7:].strip() if bearer[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
        key = service.keys.find(given.decode("latin-1"))
        if path in OPEN:
            return key
        if key is None:
            raise Problem(401, "This needs a valid API key.", "Send it as 'Authorization: Bearer KEY'.", {"WWW-Authenticate": "Bearer"})
        asked = headers.get(b"x-tenant")
        if asked is not None and asked.decode("latin-1") != key.tenant and not key.is_admin:
            raise Problem(403, "This key may not be used for this.", "Ask for your own tenant.")  # whether there is such a tenant or not
        wait = service.limiter.wait(key)
        if wait:
            after = {"Retry-After": str(max(1, int(wait + 0.999)))}
            raise Problem(
                429, f"This key may ask {key.rate or service.limiter.rate:g} times a second.", f"Try again in {wait:.2f} s.", after
            )
        return key


_SAFE = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


async def _refuse(answer: Any, problem: Problem, sent: dict[str, Any]) -> None:
    if sent["begun"]:  # half an answer cannot be taken back
        return
    body = problem.body()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    if problem.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await answer({"type": "http.response.start", "status": problem.status, "headers": headers})
    await answer({"type": "http.response.body", "body": body})


async def read_body(scope: dict[str, Any], receive: Any, most: int) -> bytes:
    """The body, at most this long and within `BODY_SECONDS`. Only JSON is taken: a web page cannot send that to another site unasked."""
    headers = scope["state"]["headers"]
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind != b"application/json":
        said = kind.decode("latin-1")[:60] or "none"
        raise Problem(415, f"The content type must be application/json; got {said}.", "Send the header 'Content-Type: application/json'.")
    too_long = Problem(413, f"A body may have at most {most:,} bytes.", "Send fewer requests at once.")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > most:
        raise too_long
    message = await receive() if length == b"0" else await _in_time(receive)
    if not message.get("more_body"):
        body = message.get("body", b"")
        if len(body) > most:
            raise too_long
        return body
    parts, size, until = [message.get("body", b"")], len(message.get("body", b"")), time.monotonic() + BODY_SECONDS
    while message.get("more_body"):
        message = await _in_time(receive, until)
        if message["type"] == "http.disconnect":
            raise Problem(400, "The body broke off.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise too_long
    return b"".join(parts)


async def _in_time(receive: Any, until: float | None = None) -> dict[str, Any]:
    try:
        async with asyncio.timeout(BODY_SECONDS if until is None else max(0.0, until - time.monotonic())):
            return await receive()
    except TimeoutError:
        raise Problem(408, f"The body did not come within {BODY_SECONDS:g} s.") from None
