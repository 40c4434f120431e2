"""One local service as it is known from its folder: where it listens, its log, why it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..jobs.process import is_alive
from ..store.files import json_object, tail_lines
from .service_client import ServiceClient

TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class LocalService:
    """What is known of one: whose bundle it serves, where, since when."""

    id: str
    run: str
    run_name: str
    port: int
    key: str
    started: str
    process: dict[str, Any]
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        return is_alive(self.process)

    @property
    def client(self) -> ServiceClient:
        return ServiceClient(self.port, self.key)

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def key_file(self) -> Path:
        """Holds the key itself, readable by its owner only: what a command line shows instead of the key."""
        return self.folder / "key.txt"

    def log_tail(self) -> list[dict[str, Any]]:
        """The newest lines of its log that are JSON, oldest first."""
        return [line for line in map(json_object, tail_lines(self.log, TAIL_BYTES)) if line is not None]

    def log_lines(self) -> list[dict[str, Any]]:
        """All of its log that is JSON."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [line for line in map(json_object, text.splitlines()) if line is not None]

    def inside_ms(self, request_id: str, seconds: float = 0.25) -> float | None:
        """How long the service took over one request, without the way there and back: from its log, where the line comes a moment after
        the answer; None where it does not."""
        until = time.monotonic() + seconds
        while True:
            found = next((line for line in reversed(self.log_tail()) if line.get("id") == request_id), None)
            if found is not None:
                return float(found["ms"])
            if time.monotonic() > until:
                return None
            time.sleep(0.005)

    def why_ended(self) -> str:
        """The last thing it said that is a sentence."""
        lines = [line.strip() for line in tail_lines(self.log, TAIL_BYTES) if line.strip()]
        for line in reversed(lines):
            said = json_object(line)
            text = line if said is None else str(said.get("error") or "")
            if text and not text.startswith(("  ", "Traceback")):
                return text[:300]
        return "Its log does not say why."


def read_from(path: Path, start: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
