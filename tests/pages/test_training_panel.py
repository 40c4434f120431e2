"""The training panel: what it reads from the record of the passes, and what it shows while a training runs and afterwards."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.job import CHECKPOINTS, epochs_of
from recsys_core.store import Workspace
from recsys_core.store.files import now, write_json
from recsys_core.testing.datasets import checkerboard
from ui import charts, compare_training
from ui.compare_charts import Look
from ui.jobs import PANEL
from ui.training_data import lists_better, place, step_sizes, still_learning, stories, went_on
from ui.training_panel import curves

FIRST, SECOND = "Fitting: with validation: training", "Fitting: on all training data: training"


def step(epoch: int, loss: float, stage: str = FIRST, *, ndcg: float | None = None, rate: float = 0.001, **more) -> dict:
    """One line of progress.jsonl."""
    metrics = {"loss": loss, "learning_rate": rate, "samples_per_second": 1000.0 * epoch} | ({} if ndcg is None else {"ndcg@20": ndcg})
    return {"stage": stage, "fraction": epoch / 400, "epoch": epoch, "epochs": 200, "metrics": metrics} | more


TWO = [step(1, 3.0, ndcg=0.1), step(2, 2.0, ndcg=0.3), step(3, 1.5, ndcg=0.2), step(1, 2.9, SECOND), step(2, 1.8, SECOND)]


def story(lines: list[dict]):
    [found] = stories(epochs_of(lines))
    return found


# ---- what the record says -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stage", "part", "kind"),
    [
        (FIRST, "", "with validation"),
        (SECOND, "", "on all training data"),
        ("Fitting: fit", "", ""),
        ("Fold 2 of 5: Fitting: with validation: training", "Fold 2 of 5", "with validation"),
        ("Fitting: with validation: ease: fit", "EASE", "with validation"),
        ("Fitting: with validation: run:0123: training", "run:0123", "with validation"),
        ("", "", ""),
    ],
)
def test_stage_gives_part_and_phase(stage, part, kind) -> None:
    assert place(stage) == (part, kind)


def test_phases_are_kept_apart_and_the_best_pass_is_found() -> None:
    found = story(TWO)
    assert [(phase.kind, phase.passes) for phase in found.phases] == [("with validation", [1, 2, 3]), ("on all training data", [1, 2])]
    assert found.phases[1].series("loss") == ([1, 2], [2.9, 1.8])
    assert (found.metric, found.best, found.speed) == ("ndcg@20", (2, 0.3), 2000.0)
    assert lists_better(found) == "Best at pass 2: NDCG@20 0.3000. Not better in the one since."


def test_the_best_of_equal_passes_is_the_first_and_errors_are_best_when_small() -> None:
    assert story([step(n, 1.0, ndcg=v) for n, v in ((1, 0.2), (2, 0.3), (3, 0.3))]).best == (2, 0.3)
    lines = [step(n, 1.0) for n in (1, 2, 3)]
    for line, rmse in zip(lines, (0.9, 0.8, 0.85), strict=True):
        line["metrics"]["rmse"] = rmse
    assert story(lines).best == (2, 0.8)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([2.0, 1.0], "The loss fell by 50 % since the pass before."),
        ([1.0, 1.0, 1.5], "The loss rose by 50 % over the last 2 passes."),
        ([5.0] + [1.0] * 10 + [1.0005], "The loss hardly changed over the last 10 passes."),
        ([-2.0, -3.0], "The loss fell by 50 % since the pass before."),
        ([1.0], ""),
    ],
)
def test_whether_it_is_still_learning_is_said_in_words(losses, said) -> None:
    assert still_learning(story([step(n, loss) for n, loss in enumerate(losses, 1)])) == said


def test_step_sizes_and_where_it_went_on() -> None:
    assert step_sizes(story(TWO)) == "0.001 in every pass."
    rates = (0.01, 0.02, 0.001)
    assert step_sizes(story([step(n, 1.0, rate=rate) for n, rate in enumerate(rates)])) == "From 0.01 to 0.001; at most 0.02."
    assert step_sizes(story([step(n, 1.0, rate=rate) for n, rate in enumerate(rates[1:])])) == "From 0.02 to 0.001."
    lines = [step(1, 3.0, ndcg=0.1, replayed=True), step(2, 2.0, ndcg=0.2, replayed=True), step(3, 1.0, ndcg=0.3)]
    assert went_on(story(lines)).startswith("Went on after pass 2 of the first training")
    assert went_on(story(TWO)) == ""
    second = [line | {"replayed": True} for line in TWO[:4]] + [TWO[4]]
    assert went_on(story(second)).startswith("Went on after pass 1 of the second training")


def test_a_model_without_validation_has_a_loss_only() -> None:
    found = story([{"stage": "Fitting: fit", "epoch": n, "metrics": {"train_rmse": 1 / n}} for n in (1, 2)])
    assert (found.loss, found.metric, found.best, found.speed) == ("train_rmse", "", None, None)
    assert still_learning(found).startswith("The RMSE in training fell")


def test_charts_mark_the_best_pass_and_tell_phases_apart(monkeypatch) -> None:
    monkeypatch.setattr(charts, "dark", lambda: False)
    found = story([line | {"replayed": line["epoch"] < 3} for line in TWO[:3]] + TWO[3:])
    fig = curves(found.phases, "loss", "Loss")
    assert [(line.name, line.line.dash) for line in fig.data] == [("With validation", "solid"), ("On all training data", "dash")]
    assert [shape.x0 for shape in fig.layout.shapes] == [2.5], "where it went on"
    marked = curves(found.phases, "ndcg@20", "NDCG@20", best=found.best)
    assert marked.data[-1].x == (2,) and marked.data[-1].marker.symbol == "star"


def test_three_long_trainings_are_drawn_in_a_third_of_a_second(monkeypatch) -> None:
    """The panel of three jobs of 300 passes each, as it is drawn anew every second."""
    monkeypatch.setattr(charts, "dark", lambda: False)
    steps = epochs_of([step(n, 1 / n, stage, ndcg=n / 400 if stage == FIRST else None) for stage in (FIRST, SECOND) for n in range(1, 301)])
    best = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(3):
            [found] = stories(steps)
            for name in ("loss", "ndcg@20", "learning_rate"):
                curves(found.phases, name, name, best=found.best).to_json()
        best.append(time.process_time() - start)
    assert min(best) < 0.33, f"{min(best):.2f} s of CPU"


# ---- what the page shows ---------------------------------------------------------------------------
@pytest.fixture
def saved(workspace_root: Path) -> tuple[Workspace, str]:
    workspace = Workspace(workspace_root)
    return workspace, workspace.add_dataset(checkerboard().train, "Films").id


def put(
    workspace: Workspace, dataset_id: str, lines: list[dict], state: str = "running", *, model: str = "neumf", checkpoint=False, **more
):
    """A training job in a given state with a given record."""
    queue = JobQueue(workspace)
    job = queue.submit(TrainSpec.make(dataset=dataset_id, model=model))
    (job.path / "progress.jsonl").write_text("".join(json.dumps({"at": now()} | line) + "\n" for line in lines))
    ended = {} if state == "running" else {"finished": now()}
    write_json(job.path / "state.json", job.status | {"state": state, "started": now()} | ended | more)
    if checkpoint:
        (job.path / CHECKPOINTS).mkdir()
    return queue.job(job.id)


def opened(open_page, dataset_id: str, job):
    """The Train page with the panel of a job unfolded."""
    at = open_page("train", dataset=dataset_id)
    fold = next(box for box in at.expander if box.label == PANEL)
    assert not fold.get("plotly_chart"), "nothing is drawn while it is folded away"
    at.session_state[f"train-jobs-panel-{job.id}"] = True
    at.run()
    assert not at.exception and not at.error
    return at


def figures(at) -> dict[str, str]:
    return {metric.label.replace("\\", ""): metric.value for metric in at.metric}


def words(text: str) -> str:
    return text.replace("\\", "")


def test_running_training_shows_its_figures_and_three_questions(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    job = put(workspace, dataset_id, [*TWO[:2], TWO[2] | {"seconds_left": 95.0}])
    at = opened(open_page, dataset_id, job)
    shown = figures(at)
    assert shown["Pass"] == "3 of 200" and shown["Best NDCG@20 so far"] == "0.3000" and shown["Samples a second"] == "3,000"
    assert shown["Time left, about"] == "2 min"
    said = words(text_of(at))
    for question in ("Is it still learning?", "Do the lists get better?", "How large are the steps?", "First of two trainings"):
        assert question in said
    assert "at pass 2" in said and "Went on" not in said
    [bar] = at.get("progress")
    assert "With validation · pass 3 of 200 · best NDCG@20 0.3000 at pass 2 · about 1 min 35 s left" in words(bar.proto.text)


def test_second_phase_is_told_apart(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    at = opened(open_page, dataset_id, put(workspace, dataset_id, TWO))
    said = words(text_of(at))
    assert "Second of two trainings, on all training data" in said and "First of two" not in said
    assert figures(at)["Best NDCG@20 so far"] == "0.3000", "of the first phase, which decided the number of passes"
    assert "On all training data · pass 2 of 200" in words(at.get("progress")[0].proto.text)


def test_one_pass_and_no_pass(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    job = put(workspace, dataset_id, TWO[:1])
    at = opened(open_page, dataset_id, job)
    assert "1 pass so far: the curves begin after the second" in text_of(at) and not at.get("plotly_chart")
    assert figures(at)["Time left, about"] == "–"
    (job.path / "progress.jsonl").write_text(json.dumps({"at": now(), "stage": "Reading the data", "fraction": 0.0}) + "\n")
    at = open_page("train", dataset=dataset_id)
    assert not any(box.label == PANEL for box in at.expander), "there is nothing to unfold"
    assert at.get("progress")[0].proto.text == "Reading the data"


def test_a_model_that_has_no_passes_has_no_panel(open_page, saved) -> None:
    workspace, dataset_id = saved
    put(workspace, dataset_id, [{"stage": "Fitting: Inverting", "fraction": 0.4}], model="ease")
    at = open_page("train", dataset=dataset_id)
    assert words(at.get("progress")[0].proto.text) == "Fitting: inverting"
    assert not any(box.label == PANEL for box in at.expander)


def test_resumed_training_says_from_which_pass(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    lines = [TWO[0] | {"replayed": True}, TWO[1] | {"replayed": True}, TWO[2]]
    at = opened(open_page, dataset_id, put(workspace, dataset_id, lines))
    assert "Went on after pass 2 of the first training" in words(text_of(at))


def test_finished_training_keeps_its_panel(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    job = put(workspace, dataset_id, TWO, "done")
    at = opened(open_page, dataset_id, job)
    assert figures(at)["Passes"] == "3, then 2" and figures(at)["Best NDCG@20"] == "0.3000"
    assert "Did the lists get better?" in text_of(at)
    assert "Two trainings" in text_of(at) and "Time left, about" not in figures(at)


def test_folds_are_chosen_one_by_one(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    lines = [line | {"stage": f"Fold {fold} of 2: {line['stage']}"} for fold in (1, 2) for line in TWO]
    lines[-1] = lines[-1] | {"epoch": 7}
    at = opened(open_page, dataset_id, put(workspace, dataset_id, lines, "done"))
    assert figures(at)["Passes"] == "3, then 2"
    next(box for box in at.selectbox if box.label == "Training of").select("Fold 2 of 2").run()
    assert figures(at)["Passes"] == "3, then 7"


@pytest.mark.parametrize(("checkpoint", "label"), [(True, "Continue"), (False, "Run again")])
def test_a_stopped_training_continues_where_it_can(open_page, saved, checkpoint, label) -> None:
    workspace, dataset_id = saved
    job = put(workspace, dataset_id, TWO[:3], "interrupted", checkpoint=checkpoint, reason="It was running when the app stopped.")
    at = open_page("train", dataset=dataset_id)
    button = at.button(key=f"train-jobs-again-{job.id}")
    assert button.label == label and bool(button.help) == checkpoint
    button.click().run()
    assert not at.exception and JobQueue(workspace).job(job.id).state == "queued"
    assert (job.path / CHECKPOINTS).is_dir() == checkpoint, "what it goes on from is still there"


def test_a_job_that_is_done_never_offers_to_continue(open_page, saved) -> None:
    workspace, dataset_id = saved
    put(workspace, dataset_id, TWO, "done", checkpoint=True)
    at = open_page("train", dataset=dataset_id)
    assert [button.label for button in at.button if button.key.startswith("train-jobs-")] == ["Clear ended jobs"]


def test_titles_from_a_stranger_stay_text(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    lines = [line | {"stage": "Fitting: with validation: <b>*x*</b>: training"} for line in TWO[:3]]
    at = opened(open_page, dataset_id, put(workspace, dataset_id, lines))
    assert r"\<b\>\*x\*" in text_of(at)


def test_writing_the_run_still_tells_the_last_pass(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    writing = {"stage": "Writing the run", "fraction": 0.99, "seconds_left": 0.3}
    at = opened(open_page, dataset_id, put(workspace, dataset_id, [*TWO, writing]))
    assert figures(at)["Pass"] == "2"
    assert "Writing the run · nearly done" in words(at.get("progress")[0].proto.text)


def test_the_curve_of_a_model_joined_of_parts_is_that_of_the_joined_one() -> None:
    steps = [
        {"stage": f"Fitting: with validation: {part}: training", "epoch": epoch, "loss": 1.0, "ndcg@20": value}
        for part, values in (("Product of factors alone", (0.1, 0.2)), ("Both joined", (0.25, 0.3)))
        for epoch, value in enumerate(values, 1)
    ]
    [(_, passes, values)] = compare_training.validated([(Look("NeuMF", 0), steps, None)], "ndcg@20")
    assert (passes, values) == ([1, 2], [0.25, 0.3])
