"""Facts for the operator's decisions, and a tiny model of the catalogue that performs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from data_miner.catalog.apply import Applied
from data_miner.catalog.counts import StageCount
from data_miner.catalog.datasets import Dataset
from data_miner.catalog.failures import Failure
from data_miner.catalog.owned import Row
from data_miner.catalog.phase import Phase, PhaseName
from data_miner.catalog.progress import Funnel, Progress
from data_miner.pipeline import NAMES
from data_miner_operator.facts import JobFact, ModelFact, PoolFact, Seen, Site
from data_miner_operator.reconcile import (
    Action,
    Apply,
    DeleteObject,
    Forget,
    MakeModel,
    Performed,
    Release,
    Retry,
    Suspend,
    decide,
    render,
    write_due,
)
from data_miner_operator.reconcile.asked import asked
from support.catalog import SPEC, models

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOME = "installation-1"
UID = "uid-1"
KEY = ("team", "balls")
SITE = Site(installation=HOME, folder="/data", allowed_prefixes="", credentials=None)
MODELS = ("tiny-clip", "tiny-dino", "tiny-detector")
POOL = PoolFact("ops", "dm-default", "default", NAMES, 1, 1, 4, 0, 0, "")
WORKING = Phase(PhaseName.MINING, "Working", "3 of 8 videos through")
DONE = Phase(PhaseName.COMPLETE, "AllDone", "complete: 20 images")
NO_FUNNEL = Funnel(0, 0, 0, 0, 0, 0, 0, 0)


def spec(**changes: Any) -> dict[str, Any]:
    """A valid spec; a keyword replaces a field, None removes it."""
    return {key: value for key, value in {**SPEC, **changes}.items() if value is not None}


def an_object(
    *,
    spec: Any = None,
    uid: str = UID,
    generation: int = 1,
    annotations: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A MiningProject as an API server gives it; annotations without their prefix."""
    obj: dict[str, Any] = {
        "apiVersion": "data-miner.io/v1alpha1",
        "kind": "MiningProject",
        "metadata": {
            "namespace": KEY[0],
            "name": KEY[1],
            "uid": uid,
            "generation": generation,
            "resourceVersion": str(1000 + generation),
            "annotations": {f"data-miner.io/{k}": v for k, v in (annotations or {}).items()},
            **metadata,
        },
        "spec": dict(SPEC) if spec is None else spec,
    }
    if status is not None:
        obj["status"] = status
    return obj


def found(name: str) -> ModelFact:
    """A model that a store has."""
    return ModelFact(name, models(name), "", None, can_be_made=False)


def absent(
    name: str,
    *,
    job: JobFact | None = None,
    can_be_made: bool = False,
    problem: str = "",
    away: bool = False,
) -> ModelFact:
    """A model that no store has, or none that can be asked."""
    return ModelFact(name, None, problem, job, can_be_made=can_be_made, away=away)


def stage(name: str, total: int = 0, **numbers: Any) -> StageCount:
    """Counts of a stage; those not named are zero."""
    zeros = dict.fromkeys(("done", "skipped", "running", "ready", "waiting", "failed", "frames"), 0)
    return StageCount(**{"stage": name, "total": total, **zeros, "mean_seconds": None, **numbers})


def a_progress(
    phase: Phase = WORKING,
    *,
    stages: Sequence[StageCount] | None = None,
    failures: Sequence[Failure] = (),
    put_off: Sequence[Failure] = (),
    dataset: Dataset | None = None,
    **funnel: int,
) -> Progress:
    """Progress of a project in the midst of its work."""
    return Progress(
        project_id=1,
        namespace=KEY[0],
        name=KEY[1],
        generation=1,
        phase=phase,
        funnel=replace(NO_FUNNEL, **funnel),
        stages=tuple(stages) if stages is not None else tuple(stage(name) for name in NAMES),
        waves=1,
        failures=failures,
        put_off=put_off,
        skipped=(),
        failed=sum(failure.count for failure in failures),
        costs={},
        stage_costs={},
        saved={},
        sources=(),
        scores={},
        costs_per_image={},
        dataset=dataset,
    )


def a_dataset(version: int = 1, uri: str = "file:///data/out") -> Dataset:
    """A published version."""
    return Dataset(version, "ab" * 32, 20, uri, NOW, {})


def a_row(**changes: Any) -> Row:
    """A row of this installation that stands for the object of `an_object`."""
    values: dict[str, Any] = {
        "project_id": 1,
        "namespace": KEY[0],
        "name": KEY[1],
        "owner_installation": HOME,
        "owner_uid": UID,
        "applied_digest": "of something else",
        "generation": 1,
        "suspended": False,
        "deletion_policy": "Retain",
        "retried": "",
        "deleted": False,
    }
    return Row(**{**values, **changes})


def seen(**changes: Any) -> Seen:
    """Everything is there and well, and nothing is in the catalogue yet."""
    values: dict[str, Any] = {
        "key": KEY,
        "now": NOW,
        "site": SITE,
        "object": an_object(),
        "away": "",
        "row": None,
        "progress": None,
        "models": {name: found(name) for name in MODELS},
        "pools": (POOL,),
    }
    return Seen(**{**values, **changes})


def applied(what: Seen, phase: Phase = WORKING, **progress: Any) -> Seen:
    """The same after what the object asks for was written to the catalogue."""
    (apply,) = [a for a in decide(replace(what, row=None, away="")).actions if isinstance(a, Apply)]
    row = a_row(
        applied_digest=apply.digest,
        owner_uid=apply.uid,
        suspended=apply.project.spec.suspend,
        deletion_policy=str(apply.project.spec.deletion_policy),
    )
    return replace(what, row=row, progress=a_progress(phase, **progress))


def conditions(status: Mapping[str, Any] | None) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    assert status is not None
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def message(status: Mapping[str, Any] | None, type_: str) -> str:
    """What a condition says."""
    assert status is not None
    (text,) = [c["message"] for c in status["conditions"] if c["type"] == type_]
    return str(text)


@dataclass
class Model:
    """A cluster and a catalogue of one name, as simple as can be: it performs what is decided."""

    object: dict[str, Any] | None = None
    row: Row | None = None
    phase: Phase = WORKING
    away: str = ""
    now: datetime = NOW
    models: dict[str, ModelFact] = field(default_factory=dict)
    pools: tuple[PoolFact, ...] | None = (POOL,)
    progress: Progress | None = None
    performed: list[Action] = field(default_factory=list)
    last_write: datetime | None = None
    writes: int = 0
    failed_tasks: int = 0
    _ids: int = 0

    def seen(self) -> Seen:
        """What the edges would find."""
        there = self.row is not None and not self.row.deleted and not self.away
        progress = self.progress or a_progress()
        phase = self.phase
        if self.row is not None and self.row.suspended:
            phase = Phase(PhaseName.SUSPENDED, "Suspended", "the project is suspended")
        return seen(
            now=self.now,
            object=self.object,
            away=self.away,
            row=None if self.away else self.row,
            progress=replace(progress, phase=phase) if there else None,
            models={name: self.models.get(name, found(name)) for name in MODELS},
            pools=self.pools,
        )

    def perform(self, action: Action) -> Performed:
        """What the edges would do."""
        self.performed.append(action)
        assert not self.away
        match action:
            case Apply(project=project, uid=uid, digest=digest):
                created = self.row is None or self.row.deleted
                if created:
                    self._ids += 1
                assert self.row is None or not created or self.row.deleted
                before = None if created else self.row
                self.row = a_row(
                    project_id=before.project_id if before else self._ids,
                    owner_uid=uid,
                    applied_digest=digest,
                    suspended=project.spec.suspend,
                    deletion_policy=str(project.spec.deletion_policy),
                    retried=before.retried if before else "",
                )
                result = Applied(self.row.project_id, 1, created, True, ("discover",), (), False)
                return Performed(action, applied=result)
            case Suspend(project_id):
                self._change(project_id, suspended=True, applied_digest=None)
            case Release(project_id):
                self._change(project_id, suspended=True, applied_digest=None, owner_uid=None)
            case Forget(project_id):
                self._change(project_id, deleted=True, owner_uid=None, owner_installation=None)
            case Retry(project_id, token):
                self._change(project_id, retried=token)
                retried, self.failed_tasks = self.failed_tasks, 0
                return Performed(action, retried=retried)
            case MakeModel(name):
                job = JobFact(f"make-{name}", True, False, "")
                self.models[name] = absent(name, job=job, can_be_made=True)
            case DeleteObject(uid, version):
                assert self.object is not None
                metadata = self.object["metadata"]
                assert (metadata["uid"], metadata["resourceVersion"]) == (uid, version)
                self.object = None
        return Performed(action)

    def reconcile(self) -> tuple[Action, ...]:
        """One pass of the controller, until nothing is left to do; the actions that it took."""
        taken: list[Action] = []
        for _ in range(5):
            decision = decide(self.seen())
            if not decision.actions:
                break
            for action in decision.actions:
                self.perform(action)
            taken += decision.actions
        else:
            raise AssertionError(f"never settles: {taken}")
        self.say()
        return tuple(taken)

    def say(self) -> bool:
        """Write the status if it is due now; whether it was."""
        if self.object is None:
            return False
        before = self.object.get("status")
        wanted = render(self.seen(), before)
        if wanted is None:
            return False
        if write_due(before, wanted, now=self.now, last_write=self.last_write) != 0:
            return False
        self.object["status"] = wanted
        self.last_write = self.now
        self.writes += 1
        return True

    def settle(self) -> None:
        """Pass after pass, as long as something may still be due."""
        for _ in range(3):
            self.reconcile()
            self.now += timedelta(seconds=10)
        self.reconcile()

    def edit(self, **changes: Any) -> None:
        """Another spec."""
        assert self.object is not None
        generation = self.object["metadata"]["generation"] + 1
        self.object["spec"] = spec(**changes)
        self.object["metadata"] |= {
            "generation": generation,
            "resourceVersion": str(1000 + generation),
        }

    def wish(self) -> Any:
        """What the object asks for outside of its spec."""
        assert self.object is not None
        return asked(self.object)

    def _change(self, project_id: int, **changes: Any) -> None:
        assert self.row is not None
        assert self.row.project_id == project_id
        self.row = replace(self.row, **changes)
