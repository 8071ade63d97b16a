"""Which Events tell of what changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner.catalog.apply import Applied
from data_miner.catalog.failures import Failure
from data_miner.catalog.phase import Phase, PhaseName
from data_miner_operator.facts import JobFact, Seen
from data_miner_operator.reconcile import (
    Apply,
    DeleteObject,
    Event,
    Forget,
    MakeModel,
    Performed,
    Release,
    Retry,
    Suspend,
    decide,
    render,
    transitions,
)
from data_miner_operator.reconcile.conditions import ALWAYS, Check, merge
from data_miner_operator.reconcile.events import NOTE_BYTES
from data_miner_operator.reconcile.reasons import CONDITIONS, EVENTS
from support.reconciling import (
    DONE,
    MODELS,
    NOW,
    SITE,
    a_dataset,
    a_row,
    absent,
    an_object,
    applied,
    seen,
    spec,
)

WORK = applied(seen())
STALLED = Phase(PhaseName.STALLED, "NothingFound", "the sources found no video")
PAUSED = Phase(PhaseName.SUSPENDED, "Suspended", "the project is suspended")
SUSPENDED = applied(seen(object=an_object(spec=spec(suspend=True))), PAUSED)
LIMIT = Failure("download", "throttled", 2, "abc", "HTTP 429")
FROZEN = replace(WORK, object=an_object(annotations={"reconcile": "disabled"}))
INVALID = replace(WORK, object=an_object(spec=spec(priority=5000)))
MAKING = {n: absent(n, job=JobFact("j", True, False, ""), can_be_made=True) for n in MODELS}
BROKEN = {n: absent(n, job=JobFact("j", False, True, "disk"), can_be_made=True) for n in MODELS}
COOKIES = seen(
    object=an_object(spec=spec(download={"secretRef": {"name": "cookies"}})),
    site=replace(SITE, credentials={}),
)


def told(before: Seen | None, after: Seen) -> list[tuple[str, str]]:
    """Reason and note of the events from one state to the next."""
    first = render(before, None) if before else None
    return [(e.reason, e.note) for e in transitions(first, render(after, first))]


@pytest.mark.parametrize(
    ("before", "after", "reason", "says"),
    [
        (WORK, applied(seen(), DONE), "Completed", "complete: 20 images"),
        (WORK, applied(seen(), STALLED), "Stalled", "NothingFound: the sources found no video"),
        (WORK, INVALID, "SpecInvalid", "spec.priority"),
        (None, COOKIES, "CredentialsMissing", "cookies"),
        (None, seen(models={}), "ModelsMissing", "tiny-clip"),
        (seen(models=MAKING), seen(models=BROKEN), "ModelsMissing", "disk"),
        (None, seen(models=MAKING), "MakingModels", "being made"),
        (None, seen(row=a_row(owner_installation="x")), "NotOwner", "another cluster"),
        (WORK, replace(WORK, away="no answer"), "DatabaseUnreachable", "no answer"),
        (None, seen(away="no answer"), "DatabaseUnreachable", "no answer"),
        (replace(WORK, away="no answer"), WORK, "DatabaseReachable", "again"),
        (WORK, SUSPENDED, "Suspended", "the project is suspended"),
        (SUSPENDED, WORK, "Resumed", "again"),
        (WORK, applied(seen(), put_off=(LIMIT,)), "Throttled", "HTTP 429"),
        (WORK, applied(seen(pools=())), "WorkersUnavailable", "NoPool: no worker pool serves"),
        (applied(seen(pools=())), WORK, "WorkersAvailable", "any more"),
        (WORK, FROZEN, "ReconciliationDisabled", "annotation"),
        (FROZEN, WORK, "ReconciliationEnabled", "again"),
        (WORK, applied(seen(), dataset=a_dataset(2)), "DatasetPublished", "version 2 with 20"),
    ],
)  # fmt: skip
def test_a_transition_is_told_once(
    before: Seen | None, after: Seen, reason: str, says: str
) -> None:
    """With its own word and a note; the same state again is none."""
    (note,) = [note for word, note in told(before, after) if word == reason]
    assert says in note
    status = render(after, render(before, None) if before else None)
    assert transitions(status, render(after, status)) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, WORK),
        (WORK, applied(seen(), found=9)),
        (WORK, applied(seen(), Phase(PhaseName.MINING, "OpeningWave", "3 videos are next"))),
        (applied(seen(), put_off=(LIMIT,)), applied(seen(), put_off=(replace(LIMIT, count=3),))),
        (applied(seen(), dataset=a_dataset()), applied(seen(), dataset=a_dataset(uri="s3://b/x"))),
        (seen(away="no answer"), seen(away="still no answer")),
        (seen(models=MAKING), WORK),
        (applied(seen(pools=None)), WORK),
        (seen(away="no answer"), replace(SUSPENDED, away="still none")),
    ],
)
def test_what_is_no_transition_is_not_told(before: Seen | None, after: Seen) -> None:
    """Numbers, messages, and what is simply in order."""
    assert told(before, after) == []


def test_a_version_is_told_before_the_end_that_came_with_it() -> None:
    """In the order in which it happened."""
    end = applied(seen(), DONE, dataset=a_dataset(1))
    assert [reason for reason, _ in told(WORK, end)] == ["DatasetPublished", "Completed"]


def test_a_refusal_is_told_in_its_own_word_alone() -> None:
    """Stalled is for what is applied and gets no further."""
    assert [reason for reason, _ in told(WORK, INVALID)] == ["SpecInvalid"]


def test_another_problem_of_the_same_kind_of_gate_is_told() -> None:
    """It is another reason."""
    outside = seen(
        object=an_object(spec=spec(sources=[{"files": {"uri": "/etc"}}])),
        site=replace(SITE, allowed_prefixes="/data"),
    )
    assert [reason for reason, _ in told(INVALID, outside)] == ["SpecInvalid"]


def did(**changes: Any) -> Applied:
    """What applying has changed."""
    values: dict[str, Any] = {
        "project_id": 1, "generation": 2, "created": False, "changed": True,
        "changed_stages": (), "removed_stages": (), "rediscovers": False,
    }  # fmt: skip
    return Applied(**{**values, **changes})


APPLY = next(a for a in decide(seen()).actions if isinstance(a, Apply))


@pytest.mark.parametrize(
    ("result", "reason", "note"),
    [
        (
            did(created=True, changed_stages=("discover", "download")),
            "Applied",
            "begun with the stages discover, download",
        ),
        (did(), "Applied", "no stage has changed"),
        (did(changed=False), "Applied", "taken over as it is"),
        (None, "Applied", "taken over as it is"),
        (
            did(changed_stages=("filter", "dedup"), removed_stages=("detect",)),
            "Replanned",
            "changed: filter, dedup; removed: detect",
        ),
        (
            did(changed_stages=("discover",), rediscovers=True),
            "Replanned",
            "changed: discover; the sources are listed anew",
        ),
    ],
)
def test_what_was_applied_is_told_with_the_stages_that_changed(
    result: Applied | None, reason: str, note: str
) -> None:
    """So that a user sees what an edit costs."""
    (event,) = transitions(None, None, [Performed(APPLY, applied=result)])
    assert event == Event("Normal", reason, note, "Apply")


@pytest.mark.parametrize(
    ("performed", "reason", "says"),
    [
        (Performed(Release(1)), "Released", "stay"),
        (Performed(Forget(1)), "Forgotten", "removed"),
        (Performed(Retry(1, "7"), retried=1), "Retried", "1 failed task is ready again"),
        (Performed(Retry(1, "7"), retried=3), "Retried", "3 failed tasks are ready again"),
        (Performed(DeleteObject("u", "1")), "Expired", "ttlSecondsAfterFinished"),
    ],
)
def test_what_was_done_is_told_also_when_there_is_no_status(
    performed: Performed, reason: str, says: str
) -> None:
    """The object may be gone."""
    (event,) = transitions(None, None, [performed])
    assert event.reason == reason
    assert says in event.note


def test_actions_that_a_condition_tells_of_are_not_told_twice() -> None:
    """A Job for a model, an emergency stop."""
    assert transitions(None, None, [Performed(MakeModel("m")), Performed(Suspend(1))]) == ()


CHECKS = st.fixed_dictionaries(
    {
        type_: st.sampled_from(
            [
                (status, reason)
                for status in CONDITIONS[type_]
                for reason in CONDITIONS[type_][status]
            ]
        )
        for type_ in ALWAYS
    }
)
STATUSES = st.builds(
    lambda checks, message: {
        "conditions": merge(
            None,
            {t: Check(status, reason, message) for t, (status, reason) in checks.items()},
            NOW,
        )
    },
    CHECKS,
    st.text(max_size=2000),
)


@given(st.none() | STATUSES, STATUSES)
def test_every_event_is_on_the_list_and_short(before: Any, after: Any) -> None:
    """Whatever comes after whatever; an API server takes no longer note."""
    events = transitions(before, after)
    for event in events:
        assert event.type == EVENTS[event.reason][0]
        assert 0 < len(event.note.encode()) <= NOTE_BYTES or event.note == ""
        assert event.action.isalpha()
    assert len(events) <= len(ALWAYS) + 2
    assert transitions(after, after) == ()
