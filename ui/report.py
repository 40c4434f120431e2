"""The report of a comparison: one HTML file that opens anywhere, without the app and without a network.

`python -m ui.report RUN [RUN …] --out report.html [--metric ndcg@10] [--baseline RUN]` writes the same from the command line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsys_core import __version__
from recsys_core.errors import WorkbenchError
from recsys_core.evaluation import card_facts, metric_label, verdict
from recsys_core.store.files import now

from . import state
from .compare_data import Group, _per_user, _topk, differences_to, figure_of, groups_of, judged, ranked
from .compare_groups import grouping_of
from .compare_table import headline, leaderboard
from .components import download
from .inspect_items import item_names
from .report_charts import charts_of
from .text import day, number, score

TEMPLATE = Path(__file__).with_name("report.html")
BESIDE = ("recall", "hit_rate", "coverage", "intra_list_diversity")  # measures beside the one that decides: more do not fit a page
N_LISTS, N_SHOWN = 3, 10  # recommenders and items of the lists of example users


def report_html(group: Group, runs: Sequence[Any], name: str, baseline: Any) -> str:
    """runs: those to compare, of one group. name: the measure, "ndcg@10". Everything shown is read from the runs; nothing is
    computed anew. Text from outside is escaped by the template. Size: about 5 MB, of which 4.7 are the drawing library."""
    from jinja2 import Environment
    from plotly.offline import get_plotlyjs

    best_first = ranked(runs, name)
    card, entry = best_first[0].card(), best_first[0].dataset
    found = differences_to(runs, baseline, name)
    stats = entry.stats if entry is not None else None
    template = Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    columns, rows = _table(best_first, name, baseline, found)
    return template.render(
        title=f"Recommenders compared on {entry.name if entry is not None else 'a dataset'}",
        subtitle=f"{len(best_first)} recommenders, judged by {metric_label(name)}. {day(now())}.",
        headline=_unmarked(headline(runs, name, baseline, found)),
        plotly_js=get_plotlyjs(),
        data_figures=_data_figures(stats, card),
        columns=columns,
        rows=rows,
        charts=charts_of(group, best_first, name, baseline, found),
        verdicts=_verdicts(group, best_first, name, baseline, found),
        verdict_note="Differences are paired: both are measured on the same users. Several comparisons are corrected for by Holm's method.",
        examples=_examples(group, best_first, entry),
        facts=list(card_facts(card).items()) if card else [],
        notes=list(dict.fromkeys(note for run in best_first for note in (run.card() or {}).get("notes", []))),
        settings=[(run.name, _settings(run)) for run in best_first],
        footer=f"Made by the recommender workbench {__version__} on {day(now())}.",
    )


def download_report(group: Group, runs: Sequence[Any], name: str, baseline: Any, *, key: str) -> None:
    """The button; the file is made at the click."""
    about = "Everything on this comparison in one file that opens in any browser, without the app."
    download("Report", lambda: report_html(group, runs, name, baseline), "report.html", key=key, mime="text/html", help=about)


def _data_figures(stats: Any, card: dict[str, Any]) -> list[tuple[str, str]]:
    if stats is None:
        return []
    figures = [("Users", f"{stats.n_users:,}"), ("Items", f"{stats.n_items:,}"), ("Interactions", f"{stats.n_interactions:,}")]
    figures.append(("Share of all pairs", f"{100 * stats.density:.2g} %"))
    evaluated = card.get("users_evaluated") if card else None
    return figures + ([("Users judged on", f"{evaluated:,}")] if evaluated is not None else [])


def _table(runs: Sequence[Any], name: str, baseline: Any, found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The leaderboard of Compare, as text."""
    frame = leaderboard(runs, name, baseline, found)
    label = metric_label(name)
    shown = {"name": "Recommender", "value": label, "interval": "95 % interval", "difference_interval": f"Against {baseline.name}"}
    shown |= {"verdict": "Verdict"} | {
        column: metric_label(column) for column in frame.columns if column.partition("@")[0] in BESIDE and "@" in column
    }
    shown |= {"fit": "Training (s)", "memory": "Memory"}
    kept = {column: title for column, title in shown.items() if column in frame.columns and frame[column].notna().any()}
    return list(kept.values()), [[_cell(column, row[column]) for column in kept] for _, row in frame.iterrows()]


def _cell(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{value:,.1f}" if column == "fit" else score(float(value)) if abs(value) <= 1 else number(float(value), 4)
    return str(value)


def _verdicts(group: Group, runs: Sequence[Any], name: str, baseline: Any, found: dict[str, Any]) -> list[str]:
    """A sentence for every run against the baseline, with the users it wins and loses."""
    if not found:
        return []
    frames = {run.id: _per_user(str(state.root()), run.id) for run in runs}
    grouping = grouping_of(group, "user/activity")
    return [
        verdict(frames[baseline.id], frames[run.id], name, grouping, names=(baseline.name, run.name), overall=found[run.id]).sentence()
        for run in runs
        if run.id in found
    ]


def _examples(group: Group, runs: Sequence[Any], entry: Any) -> list[dict[str, Any]]:
    """A heavy, a middling and a light user: what they had, what the best recommenders gave them."""
    if entry is None or runs[0].folds:
        return []
    train, holdout = judged(group)
    names = item_names(entry.id)
    ids = train.items
    tops = {run.id: _topk(str(state.root()), run.id) for run in runs[:N_LISTS]}
    users = holdout.users[np.logical_and.reduce([np.isin(holdout.users, top.users) for top in tops.values()])]
    if not len(users):
        return []
    source = holdout.given if holdout.given is not None else train
    sizes = np.diff(source.matrix("seen").indptr)[users]
    order = np.argsort(-sizes, kind="stable")
    chosen = [("Many interactions", 0.05), ("Some", 0.5), ("Few interactions", 0.95)]
    out = []
    for word, share in chosen:
        at = int(order[min(len(order) - 1, int(share * len(order)))])
        user = int(users[at])
        had = source.histories(np.array([user])).items[::-1][:5]
        truth = set(holdout.relevant[np.flatnonzero(holdout.users == user)[0]].indices.tolist())
        lists = []
        for run in runs[:N_LISTS]:
            top = tops[run.id]
            rows = np.flatnonzero(top.users == user)
            items = top.items[rows[0]][:N_SHOWN] if len(rows) else []
            lines = [{"text": names.title(str(ids.decode(np.array([i]))[0])), "hit": int(i) in truth} for i in items if i >= 0]
            lists.append({"name": run.name, "lines": lines})
        titles = ", ".join(names.title(str(i)) for i in ids.decode(had))
        about = f"{int(sizes[at]):,} interactions, the latest: {titles}. {len(truth):,} held out."
        out.append({"title": f"{word}: user {holdout.truth.users.decode(np.array([user]))[0]}", "about": about, "lists": lists})
    return out


def _settings(run: Any) -> str:
    asked = run.spec.get("params") or {}
    resolved = {key: value for key, value in run.resolved.items() if not isinstance(value, dict | list)}
    parts = [f"{part['label']} {100 * part['weight']:.0f} %" for part in run.findings.get("parts", [])]
    chosen = [f"made of {', '.join(parts)}"] if parts else []
    chosen += [f"{key} {value}" for key, value in asked.items() if value is not None and not isinstance(value, dict | list)]
    rest = [f"{key} {value}" for key, value in resolved.items() if value is not None and key not in asked]
    return f"{run.manifest.get('label', run.model_key)}; seed {run.spec.get('seed')}. {', '.join(chosen + rest)}"


def _unmarked(text: str) -> str:
    """Markdown of one paragraph as plain text."""
    return re.sub(r"\\([^\w\s])", r"\1", text.replace("**", ""))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m ui.report", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="Names or ids of runs of one split.")
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    parser.add_argument("--metric", default="ndcg@10")
    parser.add_argument("--baseline", help="The run the others are compared with; default the last one given.")
    given = parser.parse_args(arguments)
    workspace = state.workspace()
    try:
        runs = [workspace.run(name) for name in given.runs]
        baseline = workspace.run(given.baseline) if given.baseline else runs[-1]
    except WorkbenchError as error:
        parser.error(str(error))
    if len({run.split_id for run in runs}) > 1:
        parser.error("the runs were not judged on the same split, so they cannot stand in one report.")
    if all(math.isnan(figure_of(run, given.metric)[0]) for run in runs):
        parser.error(f"none of the runs has the metric {given.metric}.")
    group = next(g for g in groups_of(workspace.runs(runs[0].dataset_id)) if g.split_id == runs[0].split_id)
    given.out.write_text(report_html(group, runs, given.metric, baseline), encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
