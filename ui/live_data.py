"""What the page Live knows: the services of the workspace, who is simulated, what the service answered, files of its logs."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.serving.live.event_log import read_events
from recsys_core.serving.services import LocalService, Reply, Services
from recsys_core.store.bundles import BundleRequest
from recsys_core.store.spreadsheet import safe_frame

from . import state

K = 10
OFFERED = 200  # users
WAYS = {"user": "A user of the data", "persona": "A persona", "new": "Somebody new"}
PATHS = {
    "model": "the personal list from training",
    "fold-in": "made of what was just done, and of the history before",
    "content": "from item features",
    "popular": "what is most popular now",
}


def services() -> Services:
    """The `Services` all pages share."""
    return _services(str(state.root()))


@st.cache_resource(max_entries=4, show_spinner=False)
def _services(folder: str) -> Services:
    return Services(Path(folder))


def bundle_id(run_id: str) -> str:
    """The bundle a service of this run serves: the one that is made without choices."""
    return BundleRequest().bundle_id(run_id)


def bundle_of(run_id: str) -> Any:
    """Its entry, or None before it is made."""
    wanted = bundle_id(run_id)
    return next((entry for entry in state.workspace().bundles(run_id) if entry.id == wanted and entry.file.exists()), None)


def curl(service: LocalService, user: str) -> str:
    """A command line that asks the service what the page asks; the key stays in its file."""
    body = shlex.quote(json.dumps({"user": user, "k": K}, ensure_ascii=False))
    key = f'"Authorization: Bearer $(cat {shlex.quote(str(service.key_file))})"'
    return f"curl -s {service.url}/v1/recommend \\\n  -H {key} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"


# ---- one person in one service ---------------------------------------------------------------------
@dataclass
class Step:
    """One thing that was done, and how long each part of it took in milliseconds."""

    what: str
    item: str
    path: str
    model: float
    service: float | None
    round_trip: float
    feedback: float | None


@dataclass
class Person:
    """Who is simulated. now: the answer shown; before: the list before the last event, None before there was one."""

    user: str
    now: Mapping[str, Any] | None = None
    before: tuple[str, ...] | None = None
    last: tuple[str, str, float] | None = None  # (event, item, milliseconds of telling it)
    why: str | None = None
    started: str = ""
    steps: list[Step] = field(default_factory=list)


def person(service: LocalService, user: str) -> Person:
    """Of this session; another service or another user begins anew."""
    found = st.session_state.get("_live_person")
    if found is None or found.user != user or found.started != service.started:
        found = st.session_state["_live_person"] = Person(user, started=service.started)
    return found


def listed(service: LocalService, who: Person) -> Mapping[str, Any]:
    """The list of now; asked for when something happened, else the one that is shown. Raises what the service said."""
    if who.now is None:
        reply = service.client.recommend(who.user, k=K)
        who.now = reply.data
        event, item, told = who.last or ("", "", None)
        who.steps.append(_step(service, reply, event, item, told))
    return who.now


def _step(service: LocalService, reply: Reply, event: str, item: str, told: float | None) -> Step:
    data = reply.data
    return Step(
        event, item, str(data.get("path", "")), float(data.get("model_ms") or 0), service.inside_ms(reply.request_id), reply.ms, told
    )


def tell(service: LocalService, who: Person, item: str, event: str) -> None:
    """Something the person did. Raises what the service said."""
    reply = service.client.feedback(who.user, item, event)
    who.before = tuple((who.now or {}).get("items") or ())
    who.last, who.now, who.why = (event, item, reply.ms), None, None


def new_id() -> str:
    return f"new-{uuid.uuid4().hex[:8]}"


def introduce(service: LocalService, user: str, persona: Any, rated: bool) -> None:
    """Tell the service what a persona answered, unless it knows them from before."""
    known = st.session_state.setdefault("_live_told", set())
    if (service.started, user) in known:
        return
    known.add((service.started, user))
    if service.client.recommend(user, k=1).data["path"] == "fold-in":
        return
    events = [
        {"user": user, "item": item} | ({"event": "rating", "value": value} if rated else {"event": "like" if value > 0 else "dislike"})
        for item, value in persona.answers.items()
    ]
    for start in range(0, len(events), 50):
        service.client.feedback_many(events[start : start + 50])


# ---- files ------------------------------------------------------------------------------------------
REQUEST_COLUMNS = ("time", "method", "path", "status", "ms", "bytes", "answer", "feedback", "user", "id")
EVENT_COLUMNS = ("time", "user", "item", "event", "value")


def request_csv(service: LocalService) -> str:
    """The request log; users are in it only as hashes."""
    lines = [line for line in service.log_lines() if line.get("event") == "request"]
    return _csv(lines, REQUEST_COLUMNS)


def event_csv(service: LocalService) -> str:
    """All feedback."""
    events = read_events(service.events)[0] if service.events.exists() else []
    rows = [{"time": e.time, "user": e.user, "item": e.item, "event": e.event, "value": e.value} for e in events]
    return _csv(rows, EVENT_COLUMNS)


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    frame = pd.DataFrame(list(rows), columns=list(columns))
    frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True).dt.strftime("%Y-%m-%d %H:%M:%S")
    return safe_frame(frame).to_csv(index=False)
