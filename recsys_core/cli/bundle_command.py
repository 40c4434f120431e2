"""`bundle`, `bundle-info`: a trained run as one file that answers anywhere, and what such a file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from .bundle_options import COLUMN, COMPARE, FLOAT16, ITEMS, LICENCE, OUT, QUANTIZE, RUN, THREADS, USERS, target_of
from .output import JSON_OPTION, ProgressLine, print_json, print_table, say


def register(app: typer.Typer) -> None:
    app.command("bundle")(bundle)
    app.command("bundle-info")(bundle_info)


def bundle(
    run: str = RUN,
    out: str = OUT,
    quantize: str | None = QUANTIZE,
    prune: float | None = typer.Option(None, "--prune", help="Share of factors, units or heads to take out, 0.3 = 30 %."),
    float16: bool = FLOAT16,
    users: bool = USERS,
    items: str | None = ITEMS,
    column: list[str] = COLUMN,
    licence: str = LICENCE,
    compare: bool = COMPARE,
    threads: int = THREADS,
    json: bool = JSON_OPTION,
) -> None:
    """Make one file of a trained run that answers with numpy and onnxruntime alone, with a report of what it keeps."""
    from ..context import RunContext
    from ..serving.bundle_run import make_bundle
    from ..store.bundles import BundleRequest
    from .list_commands import open_run
    from .read import existing

    BundleRequest.make(quantize=quantize, prune=prune)
    target = target_of(out)
    progress = ProgressLine(quiet=json)
    try:
        made = make_bundle(
            open_run(run),
            target,
            quantize=quantize,  # type: ignore[arg-type]  # checked above
            prune=prune,
            float16=float16,
            with_users=users,
            columns=column or None,
            licence=licence,
            compare=compare,
            items_file=existing(items, "item file") if items else None,
            ctx=RunContext(threads=threads, on_progress=progress),
        )
    finally:
        progress.done()
    if json:
        print_json({"file": str(target), "fingerprint": made.fingerprint, "report": made.report})
        return
    _tell_report(made.report)
    print(f"\n{target} ({_size(target.stat().st_size)}): {made.report['shipped']}. Fingerprint {made.fingerprint}")


def bundle_info(
    file: str = typer.Argument(..., help="A file that `bundle` made."),
    fingerprint: str | None = typer.Option(None, "--fingerprint", help="Refuse any other bundle than the one with this fingerprint."),
    json: bool = JSON_OPTION,
) -> None:
    """Check a bundle, every byte of it, and say what it holds."""
    from ..portable.bundle import Bundle
    from ..serving.bundle_words import told_of

    opened = Bundle.open(Path(file).expanduser(), fingerprint=fingerprint)
    if json:
        print_json(opened.manifest | {"fingerprint": opened.fingerprint})
        return
    for line in told_of(opened.manifest, opened.archive.size_bytes):
        print(line)
    if opened.manifest.get("report"):
        print()
        _tell_report(opened.manifest["report"])
    print(f"\nEvery checksum is right. Fingerprint {opened.fingerprint}")


def _tell_report(report: dict[str, Any]) -> None:
    """The table of variants, then what to know."""
    from ..serving.bundle_words import report_sentence

    rows = [
        [
            one["name"], round(one["overlap"], 4), one["ndcg"], one["score_error"], _size(one["size_bytes"]),
            f"{one['p50_ms']:.2f}", f"{one['p99_ms']:.2f}", f"{one['memory_mb']:.0f}", one["kept"],
        ]
        for one in report["variants"]
    ]  # fmt: skip
    k = report["k"]
    print_table(["variant", f"overlap@{k}", f"NDCG@{k}", "score error", "size", "p50 ms", "p99 ms", "memory MB", "shipped"], rows)
    print(f"\n{report_sentence(report)}")
    for warning in report["warnings"]:
        say(warning)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MB" if n_bytes >= 2**20 else f"{n_bytes / 2**10:.0f} KB"
