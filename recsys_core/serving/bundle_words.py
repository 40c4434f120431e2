"""What a bundle's manifest and its parity report say, in sentences. Reads plain values, so that pages and commands say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WHOLE = "fp32"  # the model with the numbers as they were learnt
LEAST_OVERLAP, MOST_LOSS = 0.95, 0.01  # what a smaller variant must keep of the lists, and may lose of NDCG
SHOWN_METRICS = ("ndcg", "recall", "hit_rate", "precision")


def told_of(manifest: Mapping[str, Any], size_bytes: int) -> list[str]:
    """One line a matter: the model, the data, the run, how it was judged, what goes along, what may be done with it."""
    model, data, run = manifest["model"], manifest["data"], manifest.get("run") or {}
    variant = manifest.get("variant") or manifest.get("codec", "float32")
    lines = [
        f"{model['label']}: {variant}, {size_bytes / 2**20:,.1f} MB, written by version {manifest.get('version', 'unknown')}.",
        f"Trained on {_data(run, data)}: {data['n_users']:,} users, {data['n_items']:,} items, {data['n_interactions']:,} interactions.",
    ]
    if run.get("name"):
        seed = "" if run.get("seed") is None else f", seed {run['seed']}"
        lines.append(f"Made from the run '{run['name']}'{seed}{_when(run)}.")
    figures = _figures(manifest.get("metrics") or {})
    if figures:
        lines.append(f"On its test: {figures}.")
    carried = manifest.get("members", {})
    users = any(name.startswith("users/") for name in carried)
    lines.append(
        "Histories of its users go along, under hashes of their ids."
        if users
        else "No histories of users are in it: users come with theirs."
    )
    lines.append("Items have columns." if "item_table.json" in carried else "Items have ids only, no columns.")
    if manifest.get("title_column"):
        lines[-1] = f"Items have columns; '{manifest['title_column']}' names them."
    lines.append(f"Licence: {manifest['licence']}" if manifest.get("licence") else "Nothing is said of a licence.")
    return lines


def report_sentence(report: Mapping[str, Any]) -> str:
    """What was found, in one sentence: who was looked at, and how near the shipped variant is."""
    shipped = next(one for one in report["variants"] if one["name"] == report["shipped"])
    n, k = report["sample"], report["k"]
    ndcg = ""
    if shipped["ndcg_loss"] is not None:
        loss = shipped["ndcg_loss"]
        ndcg = f", NDCG@{k} is {abs(loss):.2%} {'lower' if loss > 0 else 'higher'}" if abs(loss) >= 5e-5 else f", NDCG@{k} is the same"
    return (
        f"On {n:,} test users, lists of {k} from {shipped['name']} hold {shipped['overlap']:.1%} of the items of the trained model's "
        f"lists{ndcg}. A list takes {shipped['p50_ms']:.2g} ms on one thread, one in a hundred more than {shipped['p99_ms']:.2g} ms; "
        f"the process takes {shipped['memory_mb']:.0f} MB."
    )


def _data(run: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    name = run.get("dataset") or data.get("name")
    return f"'{name}'" if name else "data without a name"


def _when(run: Mapping[str, Any]) -> str:
    return f", trained on {str(run['created'])[:10]}" if run.get("created") else ""


def _figures(metrics: Mapping[str, Any]) -> str:
    """The accuracy figures at the largest k there is, at most four."""
    found = {}
    for name, value in metrics.items():
        key, _, k = name.partition("@")
        if key in SHOWN_METRICS and k.isdigit() and value.get("mean") is not None:
            found[key] = max(found.get(key, (0, 0.0)), (int(k), float(value["mean"])))
    return ", ".join(f"{key}@{found[key][0]} {found[key][1]:.4f}" for key in SHOWN_METRICS if key in found)
