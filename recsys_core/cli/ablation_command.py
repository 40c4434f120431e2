"""`ablation`: what each part of a recommender buys on a dataset."""

from __future__ import annotations

import json as json_module
from typing import Any

import typer

from ..errors import BadInput
from ..evaluation.ablation import MODES
from .output import JSON_OPTION, ProgressLine, print_json, print_table, say

AXIS = typer.Option([], "--axis", help="A setting and the values tried, name=value,value; may be repeated. Else those the model names.")
SET = typer.Option([], "--set", help="A setting of the base, name=value; may be repeated.")
SPLIT_SET = typer.Option([], "--split-set", help="A setting of the split, name=value; may be repeated.")
METRIC = typer.Option(["ndcg", "recall"], "--metric", help="What variants are judged by; may be repeated, the first is shown.")


def register(app: typer.Typer) -> None:
    app.command("ablation")(ablation)


def ablation(
    run: str | None = typer.Option(None, "--run", help="A run of the workspace, by name or id: its settings are the base."),
    dataset: str | None = typer.Option(None, "--dataset", help="Instead, a dataset of the workspace, with --model."),
    model: str | None = typer.Option(None, "--model", help="With --dataset: key of the model; see the command models."),
    settings: list[str] = SET,
    split: str = typer.Option("random", "--split", help="With --dataset: how the data are split."),
    split_set: list[str] = SPLIT_SET,
    axis: list[str] = AXIS,
    all_combinations: bool = typer.Option(False, "--all", help="All combinations instead of one change at a time."),
    seeds: int = typer.Option(1, "--seeds", help="Trainings of each variant."),
    seed: int = typer.Option(42, "--seed", help="With --dataset: of the split and the first training."),
    metric: list[str] = METRIC,
    k: int = typer.Option(20, "--k", help="Length of the lists."),
    test: bool = typer.Option(False, "--test", help="Judge on the test instead of on validation."),
    most: int = typer.Option(0, "--most", help="Variants trained at most, a balanced random part; 0 = all."),
    minutes: float = typer.Option(0.0, "--minutes", help="Time there is; 0 = no limit."),
    threads: int = typer.Option(0, "--threads", help="CPU threads; 0 = all."),
    device: str = typer.Option("auto", "--device", help="Where networks learn: cpu, cuda, mps, or auto, the fastest there is."),
    json: bool = JSON_OPTION,
) -> None:
    """Train variants of a recommender and tell what each of its parts buys; kept in the workspace, finished variants too."""
    from .. import registry
    from ..context import RunContext
    from ..jobs.ablation_spec import AblationSpec
    from ..jobs.spec import TrainSpec
    from ..store import Workspace
    from .settings import joined, pairs

    if (run is None) == (dataset is None):
        raise BadInput("Give either --run RUN or --dataset NAME.", "See: python -m recsys_core ablation --help")
    if run is not None and (model is not None or settings or split_set):
        raise BadInput("--model, --set and --split-set go with --dataset, not with --run.")
    if dataset is not None and model is None:
        raise BadInput("--dataset needs --model KEY.", "See: python -m recsys_core models")
    workspace = Workspace()
    asked: dict[str, Any] = {
        "axes": {name: tuple(_value(part) for part in text.split(",")) for name, text in pairs(axis, "--axis").items()},
        "mode": MODES[1] if all_combinations else MODES[0],
        "part": "test" if test else "validation",
    }
    asked |= {"seeds": seeds, "metrics": tuple(metric), "k": k, "most": most, "minutes": minutes}
    if run is not None:
        spec = AblationSpec.of_run(workspace.run(run), **asked)
    else:
        base = joined(registry.get("model", str(model)), pairs(settings, "--set"))
        train = TrainSpec.make(
            dataset=dataset, split=split, split_params=pairs(split_set, "--split-set"), model=model, params=base, seed=seed
        )
        spec = AblationSpec.make(train=train, **asked)
    spec = spec.in_ids(workspace)
    if not any(entry.id == spec.analysis_id for entry in workspace.analyses("ablation", dataset=spec.train.dataset)):
        progress = ProgressLine()
        ctx = RunContext(threads=threads, device=device, on_progress=progress)
        registry.get("job", "ablation")().run(spec.model_dump(mode="json"), workspace, ctx)
        progress.done()
    entry = workspace.analysis(spec.analysis_id)
    print_json({"analysis": entry.id} | entry.result()) if json else _tell(entry.result())


def _tell(result: dict[str, Any]) -> None:
    """Tables of the variants and a sentence a setting, for each set of users and items they were judged on."""
    from ..evaluation import metric_label
    from ..evaluation.ablation_effects import Effect
    from ..evaluation.ablation_words import axis_from, axis_sentence, settings_text

    axes, name = [axis_from(saved) for saved in result["axes"]], f"{result['metrics'][0]}@{result['k']}"
    for note in result["notes"]:
        say(note)
    for left, why in result["left_out"].items():
        say(f"{left} was left out: {why}")
    for place, about in result["where"].items():
        print(f"\n{about['label']} ({about['n_users']:,} users):")
        rows = []
        for variant in result["variants"]:
            row: list[Any] = [settings_text(axes, variant["settings"]), None, None, variant["state"]]
            if variant["state"] == "done":
                found = variant["to_base"][place].get(name)
                row[1] = variant["figures"][place][name]
                row[2] = Effect.from_dict(found).found.amount(signed=True) if found else ""
            rows.append(row)
        print_table(["variant", metric_label(name), "to the base", "state"], rows)
        effects = [Effect.from_dict(saved) for saved in result["effects"][place][name]]
        print()
        for axis in axes:
            print(axis_sentence(axis, effects))


def _value(text: str) -> Any:
    """A number or a switch where it reads as one."""
    try:
        value = json_module.loads(text.strip())
    except ValueError:
        return text.strip()
    return value if isinstance(value, bool | int | float) else text.strip()
