"""A bundle of a trained run: the variants asked for, each held against the model, and the best of them with a report.

Cost: loading the model, one pass over at most 500 test users a variant, and a fresh process a variant; 5 to 30 seconds.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..context import QUIET, RunContext
from ..errors import Cancelled, WorkbenchError
from ..models._base import Recommender
from ..models._portable import Portable
from ..portable.archive import write_archive
from ..portable.bundle import Bundle
from ..store.bundles import BundleRequest
from ..store.entries import RunEntry
from ..store.files import STAGED, host, plain
from .bundle import write_bundle
from .bundle_about import item_columns, probe_histories, probes, said_of_run, table_of
from .bundle_sample import Sample, sample_of
from .bundle_words import WHOLE
from .parity import K, Parity, judged, measured

USUAL_PRUNE = 0.3


@dataclass(frozen=True)
class BundleResult:
    """report: see `parity.judged`, with "sample" (how many users) and "k". manifest: what the bundle says of itself."""

    path: Path
    fingerprint: str
    report: dict[str, Any]
    manifest: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Variant:
    name: str
    codec: str
    portable: Portable
    asked: bool = True


def make_bundle(
    run: RunEntry,
    out: Path,
    *,
    quantize: Literal["int8"] | None = None,
    prune: float | None = None,
    float16: bool = False,
    with_users: bool = True,
    columns: Sequence[str] | None = None,
    licence: str = "",
    compare: bool = False,
    items_file: Path | None = None,
    ctx: RunContext = QUIET,
) -> BundleResult:
    """Write the bundle of a run; `out` is there as a whole or not at all.

    quantize, float16: smaller numbers; prune: the share of factors, units or heads to take out. Each is one more variant, and so are they
    together; the smallest that gives the model's lists is shipped, else the numbers as they were learnt, and the report says so.
    compare: int8, and 30 % pruned, are measured for the report where they were not asked for; they are never shipped.
    with_users: users' histories go along, under hashes of their ids. columns: of the item table, None = title and categories.
    items_file: the item table, of a run that has none in its workspace. Raises Unsupported where the model has no form to be bundled in.
    """
    BundleRequest.make(quantize=quantize, prune=prune)  # what is wrong with it is said before the model is loaded
    out = Path(out)
    ctx.report("Loading the model", 0.0)
    model = run.model()
    beside = item_columns(model, columns, None if items_file is None else table_of(items_file, model))
    whole = model.portable()
    ctx.report("Lists of the trained model", 0.08)
    sample = sample_of(run, model, min(K, model.fitted.n_items), ctx, as_users=with_users)
    variants, failed = _variants(whole, quantize, prune, float16, model.label)
    if compare:
        variants += _others(whole, variants)
    folder = out.parent / f"{STAGED}{host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        found: list[tuple[Parity, Path]] = []
        for number, variant in enumerate(variants):
            start, end = (0.15 + 0.8 * place / len(variants) for place in (number, number + 1))
            part, path = ctx.part(variant.name, start, end), folder / f"{number}.zip"
            try:
                part.report("Writing", 0.0)
                write_bundle(model, path, portable=variant.portable, codec=variant.codec, with_users=with_users,
                             item_table=beside.table, title_column=beside.title)  # fmt: skip
                found.append((replace(measured(variant.name, path, sample, model, folder, part), asked=variant.asked), path))
            except Cancelled:
                raise
            except WorkbenchError as error:
                if variant.name == WHOLE:
                    raise
                if variant.asked:
                    failed.append(f"{variant.name} could not be made: {error.message}")
        report, shipped = judged([parity for parity, _ in found], failed)
        report = plain({"sample": len(sample), "k": sample.k} | report)
        chosen = next(path for parity, path in found if parity.name == shipped)
        ctx.report("Writing the bundle", 0.96)
        about = said_of_run(run, licence) | {"report": report, "variant": shipped, "reference": _reference(run, sample, model)}
        fingerprint, manifest = _finished(chosen, out, about, probe_histories(model, with_users, ctx.rng("probes")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return BundleResult(out, fingerprint, report, manifest)


def pruned(portable: Portable, share: float) -> Portable | None:
    """With the least useful factors, units or heads of it, of its networks and of its parts taken out; None where there is nothing to."""
    if portable.prune is not None:
        return portable.prune(share)
    networks = {
        name: net if net.prune is None else replace(net, module=net.prune(share), prune=None) for name, net in portable.networks.items()
    }
    parts = [pruned(part, share) for part in portable.parts]
    if not any(net.prune for net in portable.networks.values()) and not any(parts):
        return None
    kept = tuple(new or old for new, old in zip(parts, portable.parts, strict=True))
    return replace(portable, networks=networks, parts=kept)


def _variants(whole: Portable, quantize: str | None, prune: float | None, float16: bool, label: str) -> tuple[list[_Variant], list[str]]:
    """(what is made, sentences on what is not)."""
    codecs = [codec for codec, asked in (("float16", float16), ("int8", quantize == "int8")) if asked]
    variants = [_Variant(WHOLE, "float32", whole), *(_Variant(codec, codec, whole) for codec in codecs)]
    thin = pruned(whole, prune) if prune is not None else None
    if thin is not None:
        name = _pruned_name(prune)
        variants += [_Variant(name, "float32", thin), *(_Variant(f"{codec} and {name}", codec, thin) for codec in codecs)]
    nothing = prune is not None and thin is None
    return variants, [f"{label} has no factors, units or heads to take out, so nothing was pruned."] if nothing else []


def _others(whole: Portable, there: Sequence[_Variant]) -> list[_Variant]:
    """The usual smaller variants that are not there yet."""
    others = [_Variant("int8", "int8", whole, asked=False)]
    if not any(one.name.startswith("pruned") for one in there) and (thin := pruned(whole, USUAL_PRUNE)) is not None:
        others.append(_Variant(_pruned_name(USUAL_PRUNE), "float32", thin, asked=False))
    return [one for one in others if one.name not in {other.name for other in there}]


def _pruned_name(share: float) -> str:
    return f"pruned {share:.0%}".replace("%", " %")


def _reference(run: RunEntry, sample: Sample, model: Recommender) -> dict[str, float]:
    """hit_rate@10 of lists of all items on the test: the run's own figure where its lists are that, else worked out from the sample; {}
    without a test."""
    known = run.metrics.get("hit_rate@10", {}).get("mean")
    if known is not None and sample.allowed is None:
        return {"hit_rate@10": float(known)}
    k = min(10, model.fitted.n_items)
    found = sample.figures(sample.whole_lists(k), model, (k,), everything=True).get(f"hit_rate@{k}")
    return {} if found is None else {"hit_rate@10": float(found)}


def _finished(chosen: Path, out: Path, about: dict[str, Any], histories: list[Any]) -> tuple[str, dict[str, Any]]:
    """The chosen variant once more, with all its manifest has to say."""
    bundle = Bundle.open(chosen)
    archive = bundle.archive
    manifest = plain(archive.manifest | about | {"probes": probes(bundle, histories)})
    members = {name: archive.read(name) for name in archive.manifest["members"]}
    fingerprint = write_archive(out, manifest, members)
    return fingerprint, manifest
