"""What asks a service over HTTP: lists, feedback, reasons, health. The standard library alone, so that any process can afford it."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput, NotFound, Unsupported, WorkbenchError

HOST = "127.0.0.1"


class ServiceGone(WorkbenchError):
    """Nothing answers where the service was."""


@dataclass(frozen=True)
class Reply:
    """data: the JSON that came. ms: from the question to the whole answer, as who asked sees it. request_id: by which the log of the
    service knows it."""

    data: dict[str, Any]
    ms: float
    request_id: str


class ServiceClient:
    """One service. Every question is a connection of its own, so that threads may share a client. Errors are sentences."""

    def __init__(self, port: int, key: str = "", *, host: str = HOST, timeout_seconds: float = 10.0) -> None:
        self.host, self.port, self._key, self.timeout_seconds = host, port, key, timeout_seconds

    def recommend(
        self, user: str | None = None, history: Sequence[str] | None = None, k: int = 10, *, item: str | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> Reply:  # fmt: skip
        """items, scores, path, model_ms, cached. item: what is looked at right now."""
        body: dict[str, Any] = {"k": k} | ({} if user is None else {"user": user})
        body |= {} if history is None else {"history": list(history)}
        body |= {} if item is None else {"context": {"item": item}}
        return self._post("/v1/recommend", body | ({} if filters is None else {"filters": dict(filters)}))

    def feedback(self, user: str, item: str, event: str = "click", *, value: float | None = None, when: float | None = None) -> Reply:
        """stored, note. when: UTC seconds, now where left out."""
        body: dict[str, Any] = {"user": user, "item": item, "event": event}
        body |= {} if value is None else {"value": value}
        return self._post("/v1/feedback", body | ({} if when is None else {"time": when}))

    def feedback_many(self, events: Sequence[Mapping[str, Any]]) -> Reply:
        """Several events at once: {"user", "item", "event"[, "value", "time"]} each."""
        return self._post("/v1/feedback", {"events": [dict(event) for event in events]})

    def similar(self, item: str, k: int = 10) -> Reply:
        return self._post("/v1/similar", {"item": item, "k": k})

    def explain(self, item: str, user: str | None = None, history: Sequence[str] | None = None, k: int = 5) -> Reply:
        """parts: [{"item", "contribution"}], exact, total, method."""
        body: dict[str, Any] = {"item": item, "k": k} | ({} if user is None else {"user": user})
        return self._post("/v1/explain", body | ({} if history is None else {"history": list(history)}))

    def health(self) -> dict[str, Any]:
        """status, problems, bundle, stats, drift."""
        return self._ask("GET", "/health").data

    def ready(self) -> bool:
        """Whether it takes questions; False also where nothing listens."""
        try:
            return bool(self._ask("GET", "/ready", seconds=2.0).data.get("ready"))
        except WorkbenchError:
            return False

    # ---- inside ------------------------------------------------------------------------------------
    def _post(self, path: str, body: dict[str, Any]) -> Reply:
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None, seconds: float | None = None) -> Reply:
        asked = uuid.uuid4().hex[:16]
        headers = {"X-Request-Id": asked} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        headers |= {} if body is None else {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=seconds or self.timeout_seconds)
        began = time.perf_counter()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        except TimeoutError:
            raise ServiceGone("The service did not answer in time.", "Try again; if it stays so, stop it and start it again.") from None
        except (OSError, http.client.HTTPException) as error:
            raise ServiceGone("The service does not answer.", f"It may have ended ({type(error).__name__}): start it again.") from None
        finally:
            connection.close()
        took = 1000 * (time.perf_counter() - began)
        try:
            data = json.loads(text)
        except ValueError:
            raise ServiceGone("Something else than the service answered.", "Stop it and start it again.") from None
        if status >= 400:
            raise _error(status, data)
        return Reply(data if isinstance(data, dict) else {"answer": data}, took, asked)


def _error(status: int, data: Any) -> WorkbenchError:
    """What the service said was wrong."""
    said = data.get("error", data) if isinstance(data, dict) else {}
    said = said if isinstance(said, dict) else {"message": str(said)}
    message = str(said.get("message") or f"The service answered with {status}.")[:400]
    hint = str(said.get("hint") or "")[:400]
    kind = NotFound if status == 404 else Unsupported if status == 501 else BadInput if status < 500 else ServiceGone
    return kind(message, hint)
