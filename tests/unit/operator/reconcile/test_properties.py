"""What holds whatever happens, in whatever order: shown on a model of cluster and catalogue."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from data_miner.catalog.phase import Phase, PhaseName
from data_miner.pipeline import NAMES
from data_miner.spec.status import ProjectStatus
from data_miner_operator.facts import JobFact
from data_miner_operator.reconcile import Action, Apply, DeleteObject, Forget, decide, render
from data_miner_operator.reconcile.conditions import ALWAYS, TYPES, WHILE_TRUE
from data_miner_operator.reconcile.due import write_due
from data_miner_operator.reconcile.events import transitions
from data_miner_operator.reconcile.fit import LIMIT_BYTES, size
from data_miner_operator.reconcile.reasons import CONDITIONS, EVENTS
from data_miner_operator.reconcile.times import parse
from support.reconciling import (
    DONE,
    HOME,
    MODELS,
    POOL,
    WORKING,
    Model,
    a_progress,
    a_row,
    absent,
    an_object,
    found,
    spec,
    stage,
)

PHASES = (
    WORKING,
    DONE,
    Phase(PhaseName.PENDING, "WaitingForWorker", "no worker has begun on it yet"),
    Phase(PhaseName.EXPORTING, "WritingDataset", "a dataset version is being written"),
    Phase(PhaseName.STALLED, "NothingKept", "no frame passed the filter"),
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "deletionPolicy": st.sampled_from(["Retain", "Delete"]),
        "ttlSecondsAfterFinished": st.sampled_from([0, 60, 600]),
        "priority": st.sampled_from([0, 1, 5000]),
        "target": st.sampled_from([{"images": 10}]),
    },
)
ANNOTATIONS = st.fixed_dictionaries(
    {},
    optional={
        "reconcile": st.just("disabled"),
        "adopt": st.just("true"),
        "retry-failed": st.sampled_from(["1", "2"]),
    },
)
PASSES = st.sampled_from([True, True, True, False])
"""Whether the operator passes before the next thing happens; it may be slow or gone."""
FOREIGN = a_row(project_id=77, owner_installation="installation-2", owner_uid="elsewhere")


class Life(RuleBasedStateMachine):
    """Users, workers, databases and clocks do what they like; the operator passes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.uids = 0
        self.adopted = False

    @initialize(foreign=st.booleans())
    def begin(self, foreign: bool) -> None:
        """The catalogue may have a project of this name from elsewhere."""
        self.model.row = FOREIGN if foreign else None

    @precondition(lambda self: self.model.object is None)
    @rule(changes=SPECS, annotations=ANNOTATIONS, passes=PASSES)
    def create(self, changes: dict[str, Any], annotations: dict[str, str], passes: bool) -> None:
        self.uids += 1
        self.model.object = an_object(
            spec=spec(**changes), uid=f"uid-{self.uids}", annotations=annotations
        )
        self.model.last_write = None
        self._pass(passes)

    @precondition(lambda self: self.model.object is not None)
    @rule(changes=SPECS, passes=PASSES)
    def edit(self, changes: dict[str, Any], passes: bool) -> None:
        self.model.edit(**changes)
        self._pass(passes)

    @precondition(lambda self: self.model.object is not None)
    @rule(annotations=ANNOTATIONS, passes=PASSES)
    def annotate(self, annotations: dict[str, str], passes: bool) -> None:
        assert self.model.object is not None
        metadata = self.model.object["metadata"]
        metadata["annotations"] = {f"data-miner.io/{k}": v for k, v in annotations.items()}
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        self._pass(passes)

    @precondition(lambda self: self.model.object is not None)
    @rule(passes=PASSES)
    def delete(self, passes: bool) -> None:
        self.model.object = None
        self._pass(passes)

    @rule(away=st.booleans(), passes=PASSES)
    def database(self, away: bool, passes: bool) -> None:
        self.model.away = "no answer" if away else ""
        self._pass(passes)

    @rule(
        phase=st.sampled_from(PHASES),
        done=st.integers(0, 9),
        running=st.integers(0, 2),
        passes=PASSES,
    )
    def work(self, phase: Phase, done: int, running: int, passes: bool) -> None:
        self.model.phase = phase
        self.model.failed_tasks = 1
        counts = {"done": done, "running": running, "mean_seconds": 3.0}
        self.model.progress = a_progress(
            stages=[stage(name, 10, **counts) for name in NAMES], selected=10
        )
        self._pass(passes)

    @rule(
        name=st.sampled_from(MODELS),
        ends=st.sampled_from(["found", "lost", "failed", "away"]),
        passes=PASSES,
    )
    def model_store(self, name: str, ends: str, passes: bool) -> None:
        job = JobFact("j", False, True, "disk full") if ends == "failed" else None
        lost = absent(name, job=job, can_be_made=True, away=ends == "away", problem="silent")
        self.model.models[name] = found(name) if ends == "found" else lost
        self._pass(passes)

    @rule(pools=st.sampled_from([None, (), (POOL,), (replace(POOL, crashing=1),)]), passes=PASSES)
    def cluster(self, pools: Any, passes: bool) -> None:
        self.model.pools = pools
        self._pass(passes)

    @rule(seconds=st.sampled_from([1, 4, 70, 700, -300]), passes=PASSES)
    def clock(self, seconds: int, passes: bool) -> None:
        self.model.now += timedelta(seconds=seconds)
        self._pass(passes)

    @precondition(lambda self: self.model.row is not None and self.model.row.owner_uid)
    @rule(change=st.sampled_from([{"suspended": True}, {"applied_digest": None}]), passes=PASSES)
    def meddle(self, change: dict[str, Any], passes: bool) -> None:
        """Somebody writes to the row by hand."""
        assert self.model.row is not None
        self.model.row = replace(self.model.row, **change)
        self._pass(passes)

    def _pass(self, passes: bool) -> None:
        """Decide, perform, decide again: nothing is left; render twice: nothing is due."""
        if not passes:
            return
        model = self.model
        before, row, obj = self._status(), model.row, model.object
        disabled = obj is not None and model.wish().disabled
        adopt = obj is not None and model.wish().adopt
        decision = decide(model.seen())
        self._allowed(decision.actions, disabled=disabled, adopt=adopt)
        taken = model.reconcile()
        if disabled or model.away:
            assert taken == ()
            assert model.row == row
        if row is not None and row.owner_installation != HOME and not row.deleted and not adopt:
            assert model.row == row
        self._settled()
        after = self._status()
        self._told(before, after)
        if after is not None and obj is model.object:
            self._true(after)

    def _status(self) -> dict[str, Any] | None:
        status = self.model.object.get("status") if self.model.object is not None else None
        assert status is None or isinstance(status, dict)
        return status

    def _allowed(self, actions: tuple[Action, ...], *, disabled: bool, adopt: bool) -> None:
        model = self.model
        assert not (disabled and actions)
        for action in actions:
            match action:
                case Forget():
                    assert model.row is not None
                    assert model.row.deletion_policy == "Delete"
                    assert model.row.owner_installation == HOME
                    uid = model.object["metadata"]["uid"] if model.object else None
                    assert model.row.owner_uid != uid
                case DeleteObject(uid=uid):
                    assert model.object is not None
                    assert model.object["metadata"]["uid"] == uid
                    since = parse(model.object["status"]["completedAt"])
                    ttl = model.object["spec"]["ttlSecondsAfterFinished"]
                    assert since is not None
                    assert model.now >= since + timedelta(seconds=ttl)
                case Apply():
                    assert model.row is None or model.row.deleted or adopt or (
                        model.row.owner_installation == HOME
                    )  # fmt: skip
                case _:
                    pass

    def _settled(self) -> None:
        """A second pass finds nothing to do, but what time alone has brought meanwhile."""
        model = self.model
        again = decide(model.seen()).actions
        assert [a for a in again if not isinstance(a, DeleteObject)] == []
        writes = model.writes
        model.say()
        assert model.writes == writes

    def _told(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        for event in transitions(before, after):
            assert event.reason in EVENTS
        assert transitions(after, after) == ()

    def _true(self, status: dict[str, Any]) -> None:
        """The status says what is so, of the generation that it is about."""
        model = self.model
        said = {c["type"]: c["status"] for c in status["conditions"]}
        if model.wish().disabled or model.away:
            return
        generation = model.wish().generation
        wanted = model.seen().row
        owned = wanted is not None and not wanted.deleted and wanted.owner_uid == model.wish().uid
        if said["Complete"] == "True":
            assert owned
            assert model.phase is DONE
            assert status["observedGeneration"] == generation
            assert parse(status["completedAt"]) is not None
            assert status["progress"] == 100
        else:
            assert "completedAt" not in status
            assert status.get("progress", 0) < 100
        if said["Ready"] == "True":
            assert owned
            assert wanted is not None
            assert model.object is not None
            assert wanted.suspended == model.object["spec"].get("suspend", False)
            assert wanted.deletion_policy == model.object["spec"].get("deletionPolicy", "Retain")
            assert status["observedGeneration"] == generation
        assert said["DatabaseReachable"] == "True"

    @invariant()
    def a_status_is_well_formed(self) -> None:
        """Each type once, only known reasons, and small; what is wanted now, too."""
        model = self.model
        wanted = render(model.seen(), self._status())
        for status in (self._status(), wanted):
            if status is None:
                continue
            types = [c["type"] for c in status["conditions"]]
            assert types[: len(ALWAYS)] == list(ALWAYS)
            assert len(set(types)) == len(types)
            assert set(types) <= set(TYPES)
            for c in status["conditions"]:
                assert c["reason"] in CONDITIONS[c["type"]][c["status"]], c
                if c["type"] in WHILE_TRUE:
                    assert c["status"] == "True"
            assert size(status) <= LIMIT_BYTES
            ProjectStatus.model_validate(status)
        if wanted is not None:
            self._times(self._status(), wanted)

    def _times(self, before: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
        """`lastTransitionTime` moves with the status of its condition, and never else."""
        earlier = {c["type"]: c for c in (before or {}).get("conditions", [])}
        for c in wanted["conditions"]:
            old = earlier.get(c["type"])
            if old is not None and old["status"] == c["status"]:
                assert c["lastTransitionTime"] == old["lastTransitionTime"]
        due = write_due(before, wanted, now=self.model.now, last_write=self.model.last_write)
        assert due is None or 0 <= due <= 5

    def teardown(self) -> None:
        """In the end everything is there and well: then the status says what the catalogue says."""
        model = self.model
        if model.object is None:
            model.away = ""
            model.reconcile()
            assert model.row is None or model.row.deleted or model.row.owner_installation != HOME \
                or model.row.owner_uid is None  # fmt: skip
            return
        model.away, model.models, model.pools = "", {}, (POOL,)
        model.object["metadata"]["annotations"] = {"data-miner.io/adopt": "true"}
        model.edit()
        model.phase = WORKING
        model.settle()
        status = self._status()
        assert status is not None
        assert model.row is not None
        assert model.row.owner_uid == model.object["metadata"]["uid"]
        assert status["observedGeneration"] == model.wish().generation
        assert (status["phase"], status["projectId"]) == ("Mining", model.row.project_id)
        assert not {c["type"] for c in status["conditions"]} & set(WHILE_TRUE)
        model.phase = DONE
        model.settle()
        status = self._status()
        assert status is not None
        assert (status["phase"], status["progress"]) == ("Complete", 100)
        writes = model.writes
        model.now += timedelta(days=1)
        assert model.reconcile() == ()
        assert model.writes == writes, "an idle object is written to"


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestWhateverHappens = Life.TestCase
