"""What a job is asked to do, and the content hash by which the same request is recognised."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from .. import params as params_module
from .. import registry
from ..errors import ParamError

if TYPE_CHECKING:
    from ..store.workspace import Workspace

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "interrupted")


class JobSpec(BaseModel):
    """Any job: `kind` names a handler (jobs/handlers/), `payload` is what it is given (JSON).

    key: jobs with the same key are the same job, never done twice; "" = every submission is a new one.
    threads: CPU threads it may use; 0 = the machine's, shared between parallel jobs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    payload: dict[str, Any] = {}
    title: str = ""
    key: str = ""
    threads: int = 0


class TrainSpec(BaseModel):
    """One training run: which data, how it is split, which model, which figures.

    dataset: id (or name, made an id on submission). ks: list lengths of the metrics. refit: after early
    stopping or learning weights on validation, fit again on all of train. keep_top: length of the lists
    kept for every test user. features: id of a feature set of the dataset, "" = as guessed (`with_features` names the current
    one, for models that read tables). name: shown; made up when empty. name and threads do not make it another run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    split: str = "random"
    split_params: dict[str, Any] = {}
    model: str
    params: dict[str, Any] = {}
    ks: tuple[int, ...] = (5, 10, 20)
    seed: int = 42
    refit: bool = True
    threads: int = 0
    keep_top: int = 100
    features: str = ""
    name: str = ""

    @field_validator("ks")
    @classmethod
    def _ks(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if not ks or min(ks) < 1 or max(ks) > 1000:
            raise ValueError(f"list lengths k must be whole numbers from 1 to 1000; got {list(ks)}")
        return tuple(sorted(set(ks)))

    @field_validator("seed")
    @classmethod
    def _seed(cls, seed: int) -> int:
        if not 0 <= seed < 2**31:
            raise ValueError(f"the seed must be a whole number from 0 to {2**31 - 1}; got {seed}")
        return seed

    @field_validator("threads")
    @classmethod
    def _threads(cls, threads: int) -> int:
        if not 0 <= threads <= 256:
            raise ValueError(f"threads must be a whole number from 0 to 256; got {threads}")
        return threads

    @classmethod
    def make(cls, **values: Any) -> TrainSpec:
        """A spec, with ParamError (rule and value) instead of pydantic's own error."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise ParamError(first_problem(error)) from None

    @property
    def length(self) -> int:
        """Length of the lists that are kept."""
        return max(self.keep_top, *self.ks)

    def model_params(self) -> params_module.Params:
        """Validated; defaults filled in; "auto" stays "auto"."""
        model = registry.get("model", self.model)
        return params_module.build(model.Params, self.params, owner=model.label)

    def in_ids(self, workspace: Workspace) -> TrainSpec:
        """With ids in place of the names of the dataset and of the runs a fusion combines. Raises NotFound for what is not there."""
        from .starts import checked_start

        spec = checked_start(workspace, self.model_copy(update={"dataset": workspace.dataset(self.dataset).id}))
        models = spec.params.get("models")
        named = [m for m in models if str(m).startswith("run:")] if isinstance(models, list) else []
        if not named:
            return spec
        ids = {name: f"run:{workspace.run(name.removeprefix('run:')).id}" for name in named}
        other = {name: ids[value] for name, value in self.params.items() if isinstance(value, str) and value in ids}
        return spec.model_copy(update={"params": self.params | other | {"models": [ids.get(m, m) for m in models]}})

    def with_features(self, workspace: Workspace) -> TrainSpec:
        """With the dataset's current feature set, where the model reads features and none was named."""
        from ..store.feature_sets import current_features

        if self.features or not registry.get("model", self.model).reads(self.model_params()):
            return self
        return self.model_copy(update={"features": current_features(workspace.dataset(self.dataset))})

    def splitter(self) -> Any:
        """The rule with its parameters."""
        rule = registry.get("splitter", self.split)
        return rule(params_module.build(rule.Params, self.split_params, owner=rule.label))

    @property
    def split_id(self) -> str:
        """The same for runs that are judged on the same users and items."""
        rule = self.splitter()
        return digest({"dataset": self.dataset, "split": self.split, "params": rule.params.model_dump(mode="json"), "seed": self.seed})

    @property
    def run_id(self) -> str:
        """Content hash, 16 hex. Defaults spelled out and defaults left out give the same id."""
        return digest(
            {
                "split": self.split_id,
                "model": self.model,
                "params": self.model_params().model_dump(mode="json"),
                "ks": list(self.ks),
                "seed": self.seed,
                "refit": self.refit,
                "length": self.length,
            }
            | ({"features": self.features} if self.features else {})
        )

    @property
    def title(self) -> str:
        """`name`, or the model's label with the parameters that are not its defaults."""
        if self.name:
            return self.name
        model = registry.get("model", self.model)
        defaults = {f.name: f.default for f in params_module.fields(model.Params)}
        values = self.model_params().model_dump(mode="json")
        told = [
            _told(name, value)
            for name, value in values.items()
            if name in self.params and value != defaults[name] and not isinstance(value, dict)
        ]
        return f"{model.label} ({_listed(told, 80 - len(model.label))})" if told else model.label

    def job(self) -> JobSpec:
        """The job that trains it; the same spec is the same job."""
        return JobSpec(kind="train", payload=self.model_dump(mode="json"), title=self.title, key=self.run_id, threads=self.threads)


def default_threads(parallel: int = 1) -> int:
    """The machine's cores, shared between parallel jobs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, parallel))


def digest(value: Any) -> str:
    """Content hash of a JSON value, 16 hex; the order of keys does not matter."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def _told(name: str, value: Any) -> str:
    if name == "start_from":  # an id tells a reader nothing
        return "started from other data"
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if isinstance(value, list):
        runs = sum(str(v).startswith("run:") for v in value)  # ids tell a reader nothing
        rest = [str(v) for v in value if not str(v).startswith("run:")]
        return f"{name} {'+'.join([*rest, *([f'{runs} trained before'] if runs else [])])}"
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _listed(told: list[str], room: int) -> str:
    """As many as there is room for, at least one, and how many more there are."""
    n = next((n for n in range(len(told), 1, -1) if len(", ".join(told[:n])) <= room), 1)
    more = f" and {len(told) - n} more" if n < len(told) else ""
    return f"{', '.join(told[:n])}{more}"


def first_problem(error: ValidationError) -> str:
    """The first thing pydantic found wrong, in a sentence: the rule and the value."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "value_error":
        return f"{str(first['ctx']['error'])[:1].upper()}{str(first['ctx']['error'])[1:]}."
    if first["type"] == "extra_forbidden":
        return f"Unknown setting '{name}'."
    return f"{name}: {first['msg']}; got {first.get('input')!r}."
