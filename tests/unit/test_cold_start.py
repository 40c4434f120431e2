"""How far a few items go: what is shown and what must be found, by hand and by a slow loop; the sentences; the job and the command."""

import json
from dataclasses import replace
from itertools import permutations
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.cli import main
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.errors import BadInput, Cancelled, ParamError
from recsys_core.evaluation import cold_start_words as words
from recsys_core.evaluation.cold_start import list_figures, make_tasks, measure
from recsys_core.evaluation.cold_start_rating import chance, own_figures
from recsys_core.evaluation.cold_start_result import curves
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.cold_start import compare_cold
from recsys_core.jobs.cold_start_spec import ColdStartSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.models._base import Recommender
from recsys_core.splitting.cold_users import ColdUsers
from recsys_core.store import Workspace

ONE = RunContext(threads=1)
TASTES, ITEMS = 6, 90  # items of a taste: every sixth


class Adapting(Recommender):
    """Knows the tastes: unadapted it counts, adapted it puts the taste of what was shown first."""

    key, label, family, summary = "adapting", "Adapting", "Meta", "For tests."
    adapts: ClassVar[bool] = True

    def _fit(self, data, ctx, validation):
        self.counts = data.item_counts / data.item_counts.max()

    def _history_scores(self, histories):
        return self.scores_after(histories)

    def scores_after(self, histories, users=None, steps=None):
        liked = np.zeros((len(histories), TASTES))
        np.add.at(liked, (histories.row, histories.items % TASTES), 1.0)
        moved = (0 if steps == 0 else 10) * liked[:, np.arange(len(self.counts)) % TASTES]
        return (self.counts + moved).astype(np.float32)


class FromTable(Adapting):
    """Reads the row of the user table, which only the code can find."""

    key = "from_table"
    adapts = False
    reads_user_table = True

    def _table_scores(self, histories, users):
        self.asked = [*getattr(self, "asked", []), *users]
        return -np.abs(np.arange(len(self.counts)) - (users % TASTES)[:, None]).astype(np.float32)


class Stays(Adapting):
    """Adapting takes nothing and gives nothing."""

    key = "stays"

    def _history_scores(self, histories):
        return self.scores_after(histories, steps=0)


def _data(timed=True, rated=True, n=120, seed=0):
    """Users like 24 items of one taste, and rate 6 others low."""
    rng = np.random.default_rng(seed)
    rows = []
    for u in range(n):
        taste = np.arange(u % TASTES, ITEMS, TASTES)
        liked = np.concatenate([taste, rng.choice(np.setdiff1d(np.arange(ITEMS), taste), 9, replace=False)])
        rows += [(f"u{u:03}", f"i{i:02}", 5.0, int(t)) for i, t in zip(liked, rng.integers(0, 50, len(liked)), strict=True)]
        poor = rng.choice(np.setdiff1d(np.arange(ITEMS), liked), 6, replace=False)
        rows += [(f"u{u:03}", f"i{i:02}", 1.0, 60) for i in poor]
    frame = pd.DataFrame(rows, columns=["user", "item", "value", "time"])
    named = {"value": "value", "feedback": "explicit", "threshold": 4.0} if rated else {}
    return from_frame(frame, time="time" if timed else None, **named)


@pytest.fixture(scope="module")
def split():
    return next(iter(ColdUsers(users_share=0.3).splits(_data(), ONE)))


def _by_user(holdout):
    """user -> [(item, value, time)] of everything known of them."""
    out = {}
    for part in (holdout.given, holdout.truth):
        for u, i, v, t in zip(part.user, part.item, part.value, part.time, strict=True):
            out.setdefault(int(u), []).append((int(i), float(v), int(t)))
    return out


def test_the_same_must_be_found_however_many_are_shown(split):
    known = _by_user(split.test)
    for order in ("random", "earliest"):
        tasks = make_tasks(split.test, (0, 1, 3, 5), order=order, draws=2 if order == "random" else 1)
        assert tasks.shown.shape[1:] == (36, 5) and set(tasks.users) == set(known) and tasks.left_out == 0
        for draw in range(tasks.draws):
            for row, user in enumerate(tasks.users):
                liked = {i: t for i, v, t in known[user] if v >= 4}
                shown = tasks.shown[draw, row].tolist()
                wanted = set(tasks.wanted[draw][row].indices.tolist())
                assert len(set(shown)) == 5 and wanted == set(liked) - set(shown) and wanted
                if order == "earliest":
                    assert [liked[i] for i in shown] == sorted(liked.values())[:5]
        for s in (0, 1, 3, 5):  # nested, oldest first within a history, with their own values and times
            support = tasks.support(0, s, slice(0, 36))
            assert set(support.lengths) == {s}
            for row, user in enumerate(tasks.users):
                here = slice(support.indptr[row], support.indptr[row + 1])
                assert set(support.items[here]) == set(tasks.shown[0, row, :s])
                assert list(support.times[here]) == sorted(support.times[here])
                rated = {i: (v, t) for i, v, t in known[user]}
                triples = zip(support.items[here], support.values[here], support.times[here], strict=True)
                assert all(rated[i] == (v, t) for i, v, t in triples)
    one, two = make_tasks(split.test, (3,), draws=2), make_tasks(split.test, (3,), draws=2)
    assert np.array_equal(one.shown, two.shown) and not np.array_equal(one.shown[0], one.shown[1])
    assert not np.array_equal(one.shown, make_tasks(split.test, (3,), draws=2, seed=7).shown)


def test_figures_are_those_of_a_slow_loop(split):
    model = Adapting().fit(split.train)
    tasks = make_tasks(split.test, (0, 2, 5), draws=2)
    found = measure(model, tasks, 4, ONE)
    for number, s in enumerate((0, 2, 5)):
        for row in (0, 7, 35):
            for steps, figures in ((None, found.figures), (0, found.unadapted)):
                total = np.zeros(3)
                for draw in range(2):
                    shown = tasks.shown[draw, row].tolist()
                    scores = model.scores_after(Histories.from_lists([shown[:s]]), steps=steps)[0] if s or steps == 0 else model.counts
                    best = sorted((i for i in range(ITEMS) if i not in shown), key=lambda i: (-np.float32(scores[i]), i))[:4]
                    wanted = set(tasks.wanted[draw][row].indices.tolist())
                    gain = sum(1 / np.log2(p + 2) for p, i in enumerate(best) if i in wanted)
                    ideal = sum(1 / np.log2(p + 2) for p in range(min(4, len(wanted))))
                    hits = len(wanted & set(best))
                    total += np.array([gain / ideal, hits / len(wanted), hits > 0]) / 2
                assert figures[number, :, row] == pytest.approx(total, abs=1e-6)
    assert found.ms > 0 and found.figures.shape == (3, 3, 36)


def test_users_keep_their_row_of_the_table_at_every_number_of_items(split):
    tasks, model = make_tasks(split.test, (0, 3)), FromTable().fit(split.train)
    found = measure(model, tasks, 1, ONE, timed=False)
    assert model.asked == [*tasks.users, *tasks.users] and found.unadapted is None
    hit = [tasks.wanted[0][row, user % TASTES] > 0 for row, user in enumerate(tasks.users) if user % TASTES not in tasks.shown[0, row]]
    free = [row for row, user in enumerate(tasks.users) if user % TASTES not in tasks.shown[0, row]]
    assert found.figures[:, 2, free].tolist() == [hit, hit], "their first item is the one of their row, unless it was set aside"


def test_list_figures_by_hand():
    from scipy import sparse

    wanted = sparse.csr_matrix(np.array([[1, 0, 1, 0], [0, 0, 0, 1]]))
    ndcg, recall, hit = list_figures(np.array([[1, 0], [2, -1]]), wanted, 2)
    assert ndcg == pytest.approx([(1 / np.log2(3)) / (1 + 1 / np.log2(3)), 0]) and recall.tolist() == [0.5, 0] and hit.tolist() == [1, 0]


def test_chance_is_the_mean_of_all_orders_and_half_liked_gives_a_half():
    gains, liked = np.array([[31.0, 15, 0, 1, 3, 7]]), np.array([[True, True, True, False, False, False]])
    orders = np.array(list(permutations(range(6))), dtype=float)
    all_of_them = own_figures(-orders, np.repeat(liked, len(orders), 0), np.repeat(gains, len(orders), 0))
    precision, ndcg = chance(liked, gains)
    assert precision == pytest.approx([0.5]) and [all_of_them[0].mean(), all_of_them[1].mean()] == pytest.approx([precision[0], ndcg[0]])
    perfect = own_figures(gains, liked, gains)
    assert perfect[1] == pytest.approx([1.0]) and perfect[0] == pytest.approx([0.4]), "31, 15, 7, 3, 1: two of them liked"


def test_own_items_are_ten_rated_ones_that_were_not_shown(split):
    tasks = make_tasks(split.test, (0, 5), draws=2)
    known = _by_user(split.test)
    own = tasks.own
    assert own.left_out == 0 and own.items.shape == (2, 36, 10) and not own.scaled
    for draw in range(2):
        for n, row in enumerate(own.rows):
            values = {i: v for i, v, _ in known[tasks.users[row]]}
            items = own.items[draw, n].tolist()
            assert len(set(items)) == 10 and not set(items) & set(tasks.shown[draw, row].tolist())
            assert own.liked[draw, n].tolist() == [values[i] >= 4 for i in items]
            assert own.gains[draw, n].tolist() == [2 ** values[i] - 1 for i in items]
    same = type("Same", (Adapting,), {"_history_scores": lambda self, h: np.zeros((len(h), ITEMS), np.float32)})().fit(split.train)
    found = measure(same, make_tasks(split.test, (5,), draws=5), 4, ONE, timed=False).own[0, 0]
    liked = make_tasks(split.test, (5,), draws=5).own
    assert found.mean() == pytest.approx(liked.chance()[0], abs=0.04), "equal scores are an order of chance"
    assert curves({"a": same}, _whole(rated=False).test, (1, 3), k=4, timed=False)["rating"] is None


def _whole(**more):
    return next(iter(ColdUsers(users_share=0.3).splits(_data(**more), ONE)))


def test_too_few_users_or_items_are_refused_in_words(split):
    with pytest.raises(BadInput, match="At least 5 new users with 25 relevant items or more are needed; there are 0"):
        make_tasks(split.test, (0, 24))
    with pytest.raises(BadInput, match="no times"):
        make_tasks(_whole(timed=False).test, (1,), order="earliest")
    with pytest.raises(BadInput, match="kept out of training"):
        make_tasks(Holdout(split.test.truth), (1,))
    few = replace(split.test, truth=split.test.truth.subset(split.test.truth.user < split.test.users[6]))
    few = replace(few, given=split.test.given.subset(split.test.given.user < split.test.users[6]))
    result = curves({"a": Adapting().fit(split.train)}, few, (0, 3), timed=False)
    assert result["n_users"] == 6 and "Only 6 users" in result["notes"][0]
    sampled = make_tasks(split.test, (1,), most_users=10)
    assert len(sampled.users) == 10 and sampled.sampled_from == 36


def test_repeats_of_an_item_count_once():
    rows = (
        [(u, i, 5.0, i + 10) for u in range(8) for i in range(6)] + [(u, 0, 2.0, 1) for u in range(8)] + [(u, 1, 4.0, 90) for u in range(8)]
    )
    user, item, value, time = (np.array(part) for part in zip(*rows, strict=True))
    frame = pd.DataFrame({"user": user, "item": item, "value": value, "time": time})
    data = from_frame(frame, value="value", time="time", feedback="explicit", threshold=4.0)
    tasks = make_tasks(Holdout(data.subset(data.time > 80), data.subset(data.time <= 80)), (5,), order="earliest")
    assert tasks.shown[0].tolist() == [[0, 1, 2, 3, 4]] * 8 and tasks.times[0, 0].tolist() == [10, 11, 12, 13, 14]
    assert tasks.wanted[0].indices.tolist() == [5] * 8


def test_a_comparison_says_what_is_better_what_adapting_gives_and_what_items_are_worth(split):
    models = {"popular": registry.get("model", "popular")(), "ItemKNN": registry.get("model", "item_knn")()}
    models |= {"Adapting": Adapting(), "Stays": Stays()}
    from scipy.stats import ttest_1samp
    from statsmodels.stats.multitest import multipletests

    result = curves({n: m.fit(split.train) for n, m in models.items()}, split.test, (0, 1, 2, 5), k=10, draws=2)
    by = {one["name"]: one for one in result["models"]}
    assert [by[n]["role"] for n in models] == ["popular", "fold_in", "meta", "meta"]
    adapting = by["Adapting"]
    assert adapting["curve"][0]["mean"] == pytest.approx(by["popular"]["curve"][0]["mean"])
    assert adapting["gain"][0]["mean"] == 0 and adapting["gain"][0]["better"] is None
    for point, before, gain in zip(adapting["curve"], adapting["unadapted"], adapting["gain"], strict=True):
        assert point["low"] <= point["mean"] <= point["high"] and point["mean"] - before["mean"] == pytest.approx(gain["mean"])
    assert all(gain["better"] and gain["low"] > 0 for gain in adapting["gain"][1:])
    assert by["ItemKNN"]["unadapted"] is None and by["ItemKNN"]["gain"] is None
    assert all(gain["better"] is None for gain in by["Stays"]["gain"])
    verdicts = " ".join(result["verdicts"])
    assert (
        "Adapting against popular: better" in verdicts and "What adapting gives Adapting: better at every number of items than" in verdicts
    )
    assert result["verdicts"][-1] == words.pays(result, "Adapting") == adapting["pays"]
    assert "does not pay" in words.pays(result, "Stays") and by["popular"]["pays"] == ""
    tasks = make_tasks(split.test, (0, 1, 2, 5), draws=2)
    measured = {name: measure(models[name], tasks, 10, ONE, timed=False).figures for name in ("Adapting", "popular")}
    rows = [row for row in result["comparisons"] if row["run"] == "Adapting" and row["against"] == "popular"]
    assert [row["shots"] for row in rows] == [0, 1, 2, 5] and rows[1]["p_holm"] < 0.05
    json.dumps(result, allow_nan=False)
    gaps = pd.DataFrame({s: measured["Adapting"][n, 0] - measured["popular"][n, 0] for n, s in enumerate((0, 1, 2, 5))}).astype(float)
    raw = [1.0 if not gaps[s].any() else ttest_1samp(gaps[s], 0).pvalue for s in gaps]
    assert [row["p_holm"] for row in rows] == pytest.approx(multipletests(raw, method="holm")[1], abs=1e-6)


def _result(better, role="fold_in"):
    """A comparison in which MAML is better (True), worse (False) or neither at 0, 1, 3 and 10 items."""
    shots = [0, 1, 3, 10]
    names = {"m": ("MAML", "meta", [0.1, 0.2, 0.28, 0.4]), "e": ("EASE", role, [0.1, 0.12, 0.2, 0.34])}
    models = [
        {"run": run, "name": name, "role": role, "adapts": run == "m", "gain": None,
         "curve": [{"shots": s, "mean": v} for s, v in zip(shots, means, strict=True)]}
        for run, (name, role, means) in names.items()
    ]  # fmt: skip
    rows = [
        {"run": "m", "against": "e", "role": role, "shots": s, "mean": 0.02 if b else -0.02, "low": 0.01 if b else -0.03,
         "high": 0.03 if b else -0.01, "relative": 0.1 if b else -0.1, "better": b}
        for s, b in zip(shots, better, strict=True)
    ]  # fmt: skip
    return {"shots": shots, "n_users": 90, "models": models, "comparisons": rows}


def test_sentences_by_hand():
    mixed = _result([None, True, None, False])
    assert words.verdicts(mixed) == [
        "MAML against the best fold-in (EASE): better after 1 item (by 10.0 % (5.0 to 15.0)), worse after 10 items "
        "(by 10.0 % (5.0 to 15.0)), no clear difference before the first item and after 3 items.",
        "Three items with MAML are worth about as many as 7 with EASE, though the difference after 3 is not clear.",
        "Meta-learning pays on this data after 1 item; after 10 items the fold-in of EASE is better, after 3 items it is as good.",
    ]
    assert words.pays(_result([None] * 4), "m") == (
        "The fold-in of EASE is as good here: meta-learning does not pay on this data, as far as 90 users can tell."
    )
    assert words.pays(_result([None, None, False, None]), "m") == (
        "The fold-in of EASE is better here after 3 items: meta-learning does not pay on this data."
    )
    assert words.pays(_result([True] * 4), "m") == "Meta-learning pays on this data at every number of items, against the fold-in of EASE."
    assert words.pays(mixed, "e").endswith("beside MAML, which adapts: better after 10 items, as good after 3 items, worse after 1 item.")
    flat = _result([None, True, True, None])
    flat["models"].append({"run": "p", "name": "Most popular", "role": "popular", "adapts": False})
    flat["comparisons"] += [row | {"against": "p", "role": "popular", "better": row["shots"] > 1} for row in flat["comparisons"]]
    assert words.pays(flat, "m") == (
        "Meta-learning pays on this data after 1 and 3 items, against the fold-in of EASE; after 10 items the fold-in is as good. "
        "But after 1 item it is not clearly better than the same list for everybody (Most popular)."
    )
    assert "open" in words.pays(_result([True] * 4, role="content"), "m") and words.pays(mixed, "nobody") == ""


def test_worth_lies_between_the_points():
    shots, means = (0, 1, 3, 5), (0.1, 0.3, 0.2, 0.5)
    assert words.worth(shots, means, 0.2) == pytest.approx(0.5) and words.worth(shots, means, 0.35) == pytest.approx(4.0)
    assert words.worth(shots, means, 0.05) == 0 and words.worth(shots, means, 0.6) == np.inf


def test_specs_are_checked_and_the_same_question_has_one_id():
    for wrong in ({"runs": ()}, {"shots": (0,)}, {"shots": (-1, 2)}, {"k": 0}, {"draws": 9}, {"order": "latest"}, {"nonsense": 1}):
        with pytest.raises(ParamError):
            ColdStartSpec.make(**{"runs": ("a",)} | wrong)
    one, two = ColdStartSpec.make(runs=("a", "b"), shots=(3, 0)), ColdStartSpec.make(runs=("b", "a"), shots=(0, 3, 3))
    assert one.analysis_id == two.analysis_id == one.job().key and one.job().kind == "cold_start"
    lots = {ColdStartSpec.make(runs=("a",), order="earliest", draws=n).analysis_id for n in (1, 3)}
    assert len(lots) == 1, "lots play no part where time decides"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A workspace with two runs on new users and one on a random split."""
    workspace = Workspace(tmp_path_factory.mktemp("cold"))
    entry = workspace.add_dataset(_data(), "Tastes")
    split = {"split": "cold_users", "split_params": {"users_share": 0.3}}
    runs = [
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=m, ks=(10,), **split), ONE) for m in ("item_knn", "popular")
    ]
    other = train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="popular", ks=(10,)), ONE)
    return workspace, runs, other


def test_the_job_keeps_curves_and_goes_on_where_it_was_stopped(filled):
    workspace, runs, _ = filled
    spec = ColdStartSpec.make(runs=tuple(run.id for run in runs), shots=(0, 1, 5), draws=2)
    stopped = iter([False] * 12 + [True] * 10_000)
    with pytest.raises(Cancelled):
        compare_cold(workspace, spec, replace(ONE, cancelled=lambda: next(stopped)))
    assert not workspace.analyses("cold_start")
    steps = []
    found = registry.get("job", "cold_start")().run(spec.model_dump(mode="json"), workspace, replace(ONE, on_progress=steps.append))
    entry = workspace.analysis(found["analysis"])
    result = entry.result()
    assert entry.id == spec.analysis_id and entry.runs == list(spec.runs) and result["n_users"] == 36
    assert result["models"][0]["model"] == "item_knn" and result["models"][0]["ms_per_user"] > 0
    assert all(0 <= s.fraction <= 1 for s in steps if s.fraction is not None)
    frame = pd.read_parquet(entry.file("per_user.parquet"))
    assert len(frame) == 2 * 3 * 36 and set(frame.columns) == {"run", "adapted", "shots", "user", "ndcg", "recall", "hit_rate"}
    one = result["models"][0]
    means = frame[frame.run == one["run"]].groupby("shots").ndcg.mean()
    assert [p["mean"] for p in one["curve"]] == pytest.approx(means.tolist(), abs=1e-6)
    again = []
    more = ColdStartSpec.make(runs=spec.runs[:1], shots=(0, 1, 5), draws=2)
    alone = compare_cold(workspace, more, replace(ONE, on_progress=again.append)).result()
    assert any(step.replayed for step in again), "what was measured is not measured again"
    assert alone["models"][0]["curve"] == next(m for m in result["models"] if m["run"] == spec.runs[0])["curve"]


def test_runs_of_other_splits_and_models_that_cannot_fold_in_are_told(filled, monkeypatch):
    workspace, runs, other = filled
    with pytest.raises(BadInput, match="whose split is 'New users'; .* has 'random'"):
        ColdStartSpec.make(runs=(runs[0].id, other.id)).in_ids(workspace)
    foreign = train_in_workspace(workspace, TrainSpec.make(dataset=runs[0].dataset_id, model="popular", ks=(10,), split="cold_users"), ONE)
    with pytest.raises(BadInput, match="must share one dataset and one split"):
        ColdStartSpec.make(runs=(runs[0].id, foreign.id)).in_ids(workspace)
    item_knn = registry.get("model", "item_knn")
    monkeypatch.setattr(item_knn, "_history_scores", Recommender._history_scores)
    spec = ColdStartSpec.make(runs=tuple(run.id for run in runs), shots=(0, 2), draws=1)
    result = compare_cold(workspace, spec, ONE).result()
    assert [m["model"] for m in result["models"]] == ["popular"]
    assert "cannot serve users it has not met" in result["missing"][0]["why"] and any("is left out" in note for note in result["notes"])
    with pytest.raises(BadInput, match="None of the runs could be measured"):
        compare_cold(workspace, ColdStartSpec.make(runs=(runs[0].id,), shots=(0, 2), draws=1), ONE)


def test_the_command_prints_a_table_and_writes_the_result(filled, monkeypatch, capsys, tmp_path):
    workspace, runs, _ = filled
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    file = tmp_path / "out.json"
    assert main(["cold-start", *(run.name for run in runs), "--shots", "0,1,3", "--draws", "1", "--out", str(file)]) == 0
    told = capsys.readouterr().out
    assert "NDCG@10 of 36 new users" in told and runs[0].name in told and "Ranking of a user's own items" in told and "chance" in told
    saved = json.loads(file.read_text())
    assert saved["shots"] == [0, 1, 3] and saved["analysis"]
    assert main(["cold-start", runs[0].name, "--shots", "many"]) == 2 and main(["cold-start", "nothing"]) == 2
    assert "many" in capsys.readouterr().err


def test_deleting_the_dataset_forgets_what_was_measured(tmp_path):
    workspace = Workspace(tmp_path)
    entry = workspace.add_dataset(_data(n=60), "Tastes")
    run = train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="popular", ks=(10,), split="cold_users"), ONE)
    compare_cold(workspace, ColdStartSpec.make(runs=(run.id,), shots=(0, 2), draws=1), ONE)
    kept = workspace.root / "cache" / "cold_start" / entry.id
    assert len(list(kept.glob("*.npz"))) == 1
    workspace.delete(entry.id, with_dependents=True)
    assert not kept.exists() and not workspace.analyses()


def test_runs_of_shots_are_told_short():
    def found(*better):
        return words.verdicts(_result(better))[0]

    assert "EASE): better from 1 item on (by 10.0 % (5.0 to 15.0) after 1), no clear difference before" in found(None, True, True, True)
    assert "EASE): worse at every number of items (by 10.0 % (5.0 to 15.0) after 10)." in found(False, False, False, False)
    assert "EASE): no clear difference at any number of items." in found(None, None, None, None)
    alone = _result([None] * 4)
    alone["models"][0]["role"] = "fine_tuned"
    assert words.verdicts(alone)[-1].startswith("No meta-learner is among these")
