"""What a cold-start comparison is asked for with, what it answers with, and the content hash by which it is recognised.

result.json of the analysis (kind "cold_start"); a Point is {"shots", "mean", "low", "high"}, low and high its 95 % interval over users:
  k, shots [..], order, draws, seed, dataset, split_id, n_users, left_out (users), seconds
  protocol [sentences: how it was measured], notes [sentences: what to keep in mind], verdicts [sentences]
  models [{"run", "name", "model" (key), "label", "family", "role", "adapts",
           "curve" [Point: NDCG@k], "recall" [Point], "hit_rate" [Point],
           "unadapted" [Point: NDCG@k without a gradient step] | null,
           "gain" [Point: adapted minus unadapted, paired, with "p_holm", "clear", "better": true | false | null (not clear)] | null,
           "ms_per_user": median milliseconds for one user's list after `ms_shots` items | null, "pays": one sentence for its card}]
           best first, by the mean of the curve from 1 item on
  role: "meta" | "fine_tuned" (the same network without meta-learning) | "fold_in" | "content" | "popular"
  ms_shots: items shown to the user whose list was timed
  comparisons [{"run", "against" (run), "role" (of against), "shots", "mean", "low", "high" (run minus against, paired), "relative" (share
               of against's mean, null where that is 0), "p_holm", "clear", "better": true | false | null (not clear)}]: every model that
               adapts (or, where none does, the best fold-in) against the best of every other role at that number of shots
  missing [{"run", "name", "why"}]: runs that were left out
  rating null | {"name", "definition", "k", "n_query", "n_users", "left_out", "chance": {"precision", "ndcg"},
                 "models" [{"run", "name", "precision" [Point], "ndcg" [Point]}]}
per_user.parquet beside it: run, adapted (bool), shots, user (code), ndcg, recall, hit_rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ..errors import BadInput, ParamError
from ..evaluation.cold_start import SHOTS
from ..store.entries import RunEntry
from ..store.workspace import Workspace
from .spec import JobSpec, digest, first_problem

SPLIT = "cold_users"
MOST_RUNS = 20


class ColdStartSpec(BaseModel):
    """runs: ids, all of one split by new users. shots: how many of their items are shown. k: length of the lists.

    order: which items are shown first, "random" (by lot) or "earliest". draws: lots a user, averaged (1 with "earliest").
    seed: of the lots. most_users: test users measured at most, a random part of them (0 = all).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[str, ...]
    shots: tuple[int, ...] = SHOTS
    k: int = 10
    order: Literal["random", "earliest"] = "random"
    draws: int = 3
    seed: int = 42
    most_users: int = 2000

    @field_validator("k", "draws", "seed", "most_users")
    @classmethod
    def _bounds(cls, value: int, info: Any) -> int:
        low, high = {"k": (1, 1_000), "draws": (1, 5), "seed": (0, 2**31 - 1), "most_users": (0, 1_000_000)}[info.field_name]
        if not low <= value <= high:
            raise ValueError(f"{info.field_name} must be from {low} to {high:,}; got {value}")
        return value

    @field_validator("shots")
    @classmethod
    def _shots(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if not shots or min(shots) < 0 or not 1 <= max(shots) <= 100:
            raise ValueError(f"shots must be whole numbers from 0 to 100, one of them at least 1; got {list(shots)}")
        return tuple(sorted(set(shots)))

    @field_validator("runs")
    @classmethod
    def _runs(cls, runs: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(sorted(set(runs)))
        if not 1 <= len(found) <= MOST_RUNS:
            raise ValueError(f"from 1 to {MOST_RUNS} runs can be compared; got {len(found)}")
        return found

    @classmethod
    def make(cls, **values: Any) -> ColdStartSpec:
        """Checked, with ParamError in words; the same question always gives the same spec."""
        try:
            spec = cls(**values)
        except ValidationError as error:
            raise ParamError(first_problem(error)) from None
        return spec.model_copy(update={"draws": 1}) if spec.order == "earliest" else spec

    def in_ids(self, workspace: Workspace) -> ColdStartSpec:
        """With ids in place of the names of runs. Raises BadInput where they cannot be compared."""
        entries = [workspace.run(name) for name in self.runs]
        comparable(entries)
        return self.make(**self.model_dump() | {"runs": tuple(entry.id for entry in entries)})

    @property
    def analysis_id(self) -> str:
        return digest({"kind": "cold_start"} | self.model_dump(mode="json"))

    @property
    def title(self) -> str:
        return f"New users: {len(self.runs)} {'recommender' if len(self.runs) == 1 else 'recommenders'} after {_listed(self.shots)} items"

    def job(self) -> JobSpec:
        """The job that does it; the same question is the same job. Its result: {"analysis": id}."""
        return JobSpec(kind="cold_start", payload=self.model_dump(mode="json"), title=self.title, key=self.analysis_id)


def comparable(runs: Sequence[RunEntry]) -> None:
    """Raises BadInput, in words, unless the runs share one dataset and one split by new users."""
    for run in runs:
        if run.spec.get("split") != SPLIT:
            raise BadInput(
                f"The cold start is measured on runs whose split is 'New users'; '{run.name}' has '{run.spec.get('split', 'none')}'.",
                "Train it with the split 'New users' (cold_users).",
            )
    other = next((run for run in runs if run.split_id != runs[0].split_id), None)
    if other is not None:
        what = "data" if other.dataset_id != runs[0].dataset_id else "a split"
        raise BadInput(
            f"The runs must share one dataset and one split; '{other.name}' has {what} of its own, unlike '{runs[0].name}'.",
            "Train them with the same settings of the split and the same seed.",
        )


def _listed(shots: Sequence[int]) -> str:
    return str(shots[0]) if len(shots) == 1 else f"{', '.join(map(str, shots[:-1]))} and {shots[-1]}"
