"""What is to be done about one key."""

from __future__ import annotations

from dataclasses import replace

from data_miner_operator.facts import JobFact
from data_miner_operator.reconcile import (
    Apply,
    Decision,
    Forget,
    MakeModel,
    Release,
    Retry,
    Suspend,
    decide,
)
from data_miner_operator.reconcile.decision import AWAY_SECONDS
from support.reconciling import SITE, a_row, absent, an_object, applied, seen, spec

INVALID = spec(priority=5000)
STOPPED = {**INVALID, "suspend": True}
RETRYING = {"retry-failed": "7"}


def kinds(decision: Decision) -> list[type]:
    """What kinds of actions, in order."""
    return [type(action) for action in decision.actions]


def test_a_new_project_is_applied() -> None:
    """With absolute paths, its recipes, its uid and the digest of all that."""
    (apply,) = decide(seen()).actions
    assert isinstance(apply, Apply)
    assert apply.uid == "uid-1"
    assert len(apply.digest) == 64
    assert apply.compiled[0].stage == "discover"
    assert decide(seen()).requeue_seconds is None


def test_what_is_applied_is_left_alone() -> None:
    """A second pass does nothing."""
    assert decide(applied(seen())) == Decision()


def test_an_edit_is_applied() -> None:
    """Its digest is another one."""
    edited = replace(applied(seen()), object=an_object(spec=spec(weight=2), generation=2))
    assert kinds(decide(edited)) == [Apply]


def test_a_disabled_object_is_left_alone() -> None:
    """Whatever there would be to do, also while it is being deleted."""
    frozen = an_object(
        annotations={"reconcile": "disabled", **RETRYING}, deletionTimestamp="2026-11-21T12:00:00Z"
    )
    for row in (None, a_row(), a_row(deletion_policy="Delete")):
        assert decide(seen(object=frozen, row=row)) == Decision(frozen=True)


def test_while_the_database_is_away_nothing_is_done() -> None:
    """It is asked again soon."""
    for obj in (None, an_object(), an_object(spec=STOPPED)):
        away = seen(object=obj, away="no answer")
        assert decide(away) == Decision(requeue_seconds=AWAY_SECONDS)


def test_an_object_that_is_being_deleted_counts_as_gone() -> None:
    """Its finalizers are others' business."""
    going = an_object(deletionTimestamp="2026-11-21T12:00:00Z", annotations=RETRYING)
    assert decide(seen(object=going, row=a_row())).actions == (Release(1),)
    assert decide(seen(object=None, row=a_row(deletion_policy="Delete"))).actions == (Forget(1),)


def test_an_invalid_spec_leaves_the_last_good_one_in_force() -> None:
    """Nothing is applied, nothing is stopped."""
    assert decide(seen(object=an_object(spec=INVALID), row=a_row())).actions == ()
    assert decide(seen(object=an_object(spec=INVALID))).actions == ()


def test_suspend_is_honoured_though_nothing_else_can_be_applied() -> None:
    """Once, and only for a row that stands for this very object."""
    stopped = an_object(spec=STOPPED)
    assert decide(seen(object=stopped, row=a_row())).actions == (Suspend(1),)
    assert decide(seen(object=stopped, row=a_row(suspended=True))).actions == ()
    assert decide(seen(object=stopped, row=a_row(owner_installation="x"))).actions == ()
    assert decide(seen(object=stopped, row=a_row(owner_uid=None))).actions == ()
    assert decide(seen(object=stopped)).actions == ()


def test_suspend_is_honoured_while_a_model_is_missing() -> None:
    """And no Job is begun for a project that shall do no work."""
    waiting = seen(
        object=an_object(spec=spec(suspend=True)),
        models={"tiny-clip": absent("tiny-clip", can_be_made=True)}
        | {name: absent(name, can_be_made=True) for name in ("tiny-dino", "tiny-detector")},
        row=a_row(),
    )
    assert decide(waiting).actions == (Suspend(1),)


def test_a_row_that_was_stopped_in_an_emergency_goes_on_when_the_spec_is_mended() -> None:
    """Also when it is mended by taking the edit back."""
    stopped = applied(seen())
    assert stopped.row is not None
    stopped = replace(stopped, row=replace(stopped.row, suspended=True))
    assert kinds(decide(stopped)) == [Apply]


def test_missing_models_are_made_once() -> None:
    """A Job that is there already is enough."""
    job = JobFact("make-tiny-dino", True, False, "")
    lacking = {
        "tiny-clip": absent("tiny-clip", can_be_made=True),
        "tiny-dino": absent("tiny-dino", job=job, can_be_made=True),
        "tiny-detector": absent("tiny-detector", can_be_made=True),
    }
    made = decide(seen(models=lacking)).actions
    assert made == (MakeModel("tiny-clip"), MakeModel("tiny-detector"))
    assert decide(seen(models=lacking, row=a_row(owner_installation="x"))).actions == ()


def test_no_model_is_made_while_a_credential_is_missing() -> None:
    """The project could not go on with it."""
    lacking = {name: absent(name, can_be_made=True) for name in seen().models}
    refused = seen(
        site=replace(SITE, credentials={}),
        object=an_object(spec=spec(download={"secretRef": {"name": "cookies"}})),
        models=lacking,
    )
    assert decide(refused).actions == ()


def test_a_row_of_somebody_else_is_not_touched() -> None:
    """Neither another cluster's nor the command line's."""
    obj = an_object(annotations=RETRYING)
    for owner in ("installation-2", None):
        row = a_row(owner_installation=owner, owner_uid=None, deletion_policy="Delete")
        assert decide(seen(object=obj, row=row)) == Decision()


def test_a_row_of_somebody_else_is_taken_over_with_the_annotation() -> None:
    """It goes on with all that it has; nothing of it is forgotten."""
    obj = an_object(annotations={"adopt": "true"})
    row = a_row(owner_installation="installation-2", owner_uid="x", deletion_policy="Delete")
    assert kinds(decide(seen(object=obj, row=row))) == [Apply]


def test_an_object_made_anew_goes_on_where_the_one_before_it_was() -> None:
    """Unless that one's data were to go with it: then these go first."""
    kept = a_row(owner_uid="uid-0")
    assert kinds(decide(seen(row=kept))) == [Apply]
    assert kinds(decide(seen(row=replace(kept, owner_uid=None)))) == [Apply]
    condemned = replace(kept, deletion_policy="Delete")
    assert kinds(decide(seen(row=condemned))) == [Forget, Apply]


def test_the_object_before_is_cleared_away_although_the_new_one_is_refused() -> None:
    """Its work ends as it would without the new one."""
    refused = an_object(spec=STOPPED, annotations=RETRYING)
    row = a_row(owner_uid="uid-0")
    assert decide(seen(object=refused, row=row)).actions == (Release(1),)
    condemned = replace(row, deletion_policy="Delete")
    assert decide(seen(object=refused, row=condemned)).actions == (Forget(1),)


def test_a_deleted_row_is_as_good_as_none() -> None:
    """Whoever had it: a new life begins."""
    row = a_row(owner_installation=None, owner_uid=None, deleted=True, deletion_policy="Delete")
    assert kinds(decide(seen(row=row))) == [Apply]


def test_a_retry_comes_after_what_is_applied() -> None:
    """So that what is made ready again belongs to the new spec."""
    obj = an_object(annotations=RETRYING)
    assert kinds(decide(seen(object=obj, row=a_row()))) == [Apply, Retry]
    assert decide(applied(seen(object=obj))).actions == (Retry(1, "7"),)
    assert decide(seen(object=an_object(spec=INVALID, annotations=RETRYING), row=a_row())) == (
        Decision((Retry(1, "7"),))
    )


def test_a_retry_of_a_row_that_is_made_just_now_waits_for_its_number() -> None:
    """It is asked again at once."""
    obj = an_object(annotations=RETRYING)
    for row in (None, a_row(owner_uid="uid-0", deletion_policy="Delete")):
        decision = decide(seen(object=obj, row=row))
        assert Retry not in kinds(decision)
        assert decision.requeue_seconds == 0
