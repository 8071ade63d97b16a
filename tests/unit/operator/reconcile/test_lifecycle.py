"""From the first object of a name to its last."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from data_miner_operator.facts import Seen
from data_miner_operator.reconcile import DeleteObject, Forget, Release, Retry, decide, render
from data_miner_operator.reconcile.asked import asked
from data_miner_operator.reconcile.lifecycle import (
    Standing,
    applied,
    completed_at,
    gone,
    retry,
    standing,
)
from data_miner_operator.reconcile.wanted import compiled, read
from support.reconciling import DONE, NOW, SITE, a_row, an_object, seen, spec
from support.reconciling import applied as after_applying

TTL = spec(ttlSecondsAfterFinished=100)


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ({}, Standing.OURS),
        ({"owner_uid": "uid-0"}, Standing.PREDECESSORS),
        ({"owner_uid": None}, Standing.VACANT),
        ({"owner_installation": "installation-2"}, Standing.FOREIGN),
        ({"owner_installation": None, "owner_uid": None}, Standing.FOREIGN),
        ({"owner_installation": "installation-2", "deleted": True}, Standing.FREE),
    ],
)
def test_a_row_stands_for_one_object(changes: dict[str, Any], stands: Standing) -> None:
    """It knows the cluster and the object's uid."""
    assert standing(a_row(**changes), SITE, "uid-1") is stands


def test_without_a_row_the_name_is_free() -> None:
    """Nobody has it."""
    assert standing(None, SITE, "uid-1") is Standing.FREE


@pytest.mark.parametrize(
    ("changes", "actions"),
    [
        ({}, (Release(1),)),
        ({"deletion_policy": "Delete"}, (Forget(1),)),
        ({"deletion_policy": "Delete", "deleted": True}, ()),
        ({"deletion_policy": "Delete", "owner_uid": None}, ()),
        ({"deletion_policy": "Delete", "owner_installation": "installation-2"}, ()),
        ({"owner_installation": None}, ()),
    ],
)
def test_what_is_left_to_do_when_the_object_is_gone(
    changes: dict[str, Any], actions: tuple[object, ...]
) -> None:
    """The row says it; what is done already, and what is not ours, is left alone."""
    assert gone(a_row(**changes), SITE, None) == actions


def test_without_a_row_nothing_is_left_to_do() -> None:
    """The object was never applied."""
    assert gone(None, SITE, None) == ()


def test_data_go_only_if_row_and_object_agree() -> None:
    """An edit to Retain that could not be applied any more is still read while the object goes."""
    keeping = asked(an_object(spec={"deletionPolicy": "Retain"}))
    row = a_row(deletion_policy="Delete")
    assert gone(row, SITE, keeping) == (Release(1),)
    assert gone(replace(row, owner_uid="uid-0"), SITE, keeping) == (Forget(1),)
    assert gone(row, SITE, asked(an_object(spec={"deletionPolicy": "Delete"}))) == (Forget(1),)


def test_what_was_changed_by_hand_is_not_applied() -> None:
    """Somebody has paused the row of an object that does not say so."""
    wanted = compiled(read(an_object(), SITE), seen().models)
    row = a_row(applied_digest=wanted.digest)
    wish = asked(an_object())
    assert applied(row, SITE, wish, wanted)
    for change in (
        {"suspended": True},
        {"deletion_policy": "Delete"},
        {"applied_digest": None},
        {"owner_uid": None},
        {"deleted": True},
    ):
        assert not applied(replace(row, **change), SITE, wish, wanted)


def test_each_token_retries_once() -> None:
    """The row remembers the last one."""
    wish = asked(an_object(annotations={"retry-failed": "7"}))
    assert retry(a_row(), wish) == (Retry(1, "7"),)
    assert retry(a_row(retried="7"), wish) == ()
    assert retry(a_row(retried="7"), asked(an_object())) == ()


def complete(seconds_ago: float, **changes: Any) -> Seen:
    """A project with a time to live of 100 s that was completed so long ago."""
    then = after_applying(seen(object=an_object(spec=TTL)), DONE)
    status = render(then, None)
    assert status is not None
    obj = an_object(spec=TTL, status={**status, **changes})
    return replace(then, object=obj, now=NOW + timedelta(seconds=seconds_ago))


def test_an_object_goes_when_its_time_is_over() -> None:
    """This very object, if nobody has edited it since."""
    assert decide(complete(100)).actions == (DeleteObject("uid-1", "1001"),)


def test_an_object_stays_until_its_time_is_over() -> None:
    """And is looked at again just then."""
    decision = decide(complete(40))
    assert decision.actions == ()
    assert decision.requeue_seconds == 60
    assert decide(complete(99)).requeue_seconds == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"completedAt": None},
        {"completedAt": "once"},
        {"observedGeneration": 0},
        {"conditions": []},
        {"conditions": [{"type": "Complete", "status": "False"}]},
    ],
)
def test_an_object_stays_until_its_status_says_since_when_it_is_complete(
    changes: dict[str, Any],
) -> None:
    """What is not said of this very generation does not count."""
    decision = decide(complete(10_000, **changes))
    assert decision.actions == ()
    assert decision.requeue_seconds == 100


def test_without_a_time_to_live_an_object_stays() -> None:
    """For ever, also when it is complete."""
    decision = decide(after_applying(seen(), DONE))
    assert decision.actions == ()
    assert decision.requeue_seconds is None


def test_a_project_that_is_not_complete_any_more_stays() -> None:
    """New work came after its completion."""
    assert decide(replace(complete(500), progress=after_applying(seen()).progress)).actions == ()


def test_no_object_was_ever_completed() -> None:
    """Neither was one without a status."""
    assert completed_at(None, 1) is None
    assert completed_at({"status": "fine"}, 1) is None
