"""The whole wanted status of an object."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from data_miner.catalog.failures import Failure
from data_miner.catalog.phase import Phase, PhaseName
from data_miner.spec.status import ProjectStatus
from data_miner_operator.facts import JobFact, Seen
from data_miner_operator.reconcile import render
from data_miner_operator.reconcile.conditions import ALWAYS
from data_miner_operator.reconcile.times import stamp
from support.reconciling import (
    DONE,
    MODELS,
    NOW,
    POOL,
    SITE,
    WORKING,
    a_dataset,
    a_progress,
    a_row,
    absent,
    an_object,
    applied,
    conditions,
    message,
    seen,
    spec,
    stage,
)

INVALID = spec(priority=5000)
STALLED = Phase(PhaseName.STALLED, "NothingFound", "the sources found no video")
PAUSED = Phase(PhaseName.SUSPENDED, "Suspended", "the project is suspended; 1 task is ending")
COOKIES = spec(download={"secretRef": {"name": "cookies"}})
LACKING = {
    name: absent(name, job=JobFact(f"make-{name}", True, False, ""), can_be_made=True)
    for name in MODELS
}


def said(what: Seen, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The status, which the schema of the CRD accepts."""
    status = render(what, before)
    assert status is not None
    ProjectStatus.model_validate(status)
    assert [c["type"] for c in status["conditions"]][: len(ALWAYS)] == list(ALWAYS)
    return status


def edited(what: Seen, **changes: Any) -> Seen:
    """The same after an edit that has not been applied yet."""
    return replace(what, object=an_object(spec=spec(**changes), generation=2))


def test_there_is_nothing_to_write_to_without_an_object() -> None:
    """Neither to one that is being deleted."""
    assert render(seen(object=None), None) is None
    going = an_object(deletionTimestamp=stamp(NOW))
    assert render(seen(object=going), None) is None


def test_a_project_at_work_is_ready_and_says_how_far_it_is() -> None:
    """The operator has done what it can for this generation."""
    status = said(
        applied(
            seen(object=an_object(spec=spec(target={"images": 50}), generation=4)),
            stages=[
                stage("discover", 1, done=1),
                stage("download", 8, done=4, skipped=1, running=2, mean_seconds=60.0),
                stage("filter", 7, done=3, ready=1, waiting=1, failed=1),
                stage("dedup", 1, done=1),
            ],
            dataset=a_dataset(3),
            found=10,
            selected=8,
            unique=20,
            exported=15,
        )
    )
    assert status["observedGeneration"] == 4
    assert (status["phase"], status["reason"]) == ("Mining", "Working")
    assert status["projectId"] == 1
    assert status["images"] == {"kept": 20, "target": 50, "exported": 15}
    assert status["videos"] == {"found": 10, "selected": 8, "ended": 5}
    assert status["funnel"] == {"found": 10, "selected": 8, "unique": 20, "exported": 15}
    assert status["progress"] == 62
    assert status["eta"] == "2026-11-21T12:02:00Z"
    assert status["stages"][2] == {
        "name": "filter",
        "done": 3,
        "ready": 1,
        "waiting": 1,
        "failed": 1,
    }
    assert status["dataset"] == {
        "version": 3, "images": 20, "digest": "ab" * 32, "uri": "file:///data/out",
    }  # fmt: skip
    assert "completedAt" not in status
    assert conditions(status) == {
        "Ready": ("True", "Applied"),
        "SpecValid": ("True", "Valid"),
        "DatabaseReachable": ("True", "Connected"),
        "CredentialsReady": ("True", "NoneNamed"),
        "ModelsReady": ("True", "Found"),
        "WorkersAvailable": ("True", "Available"),
        "Throttled": ("False", "NotThrottled"),
        "Complete": ("False", "InProgress"),
        "Suspended": ("False", "Active"),
    }
    assert message(status, "Ready") == "3 of 8 videos through"


def test_a_project_that_is_not_in_the_catalogue_yet_is_being_applied() -> None:
    """Its generation has not been decided on."""
    status = said(seen())
    assert "observedGeneration" not in status
    assert "projectId" not in status
    assert (status["phase"], status["reason"]) == ("Pending", "Applying")
    assert conditions(status)["Ready"] == ("False", "Applying")
    assert conditions(status)["Reconciling"] == ("True", "Applying")
    assert conditions(status)["Complete"] == ("False", "Applying")


def test_a_row_whose_progress_is_not_known_is_at_work() -> None:
    """It was made between two questions."""
    status = said(replace(applied(seen()), progress=None))
    assert conditions(status)["Complete"] == ("False", "InProgress")
    assert (status["phase"], status["reason"]) == ("Pending", "Applied")


@pytest.mark.parametrize(
    ("what", "condition", "reason"),
    [
        (seen(object=an_object(spec=INVALID)), "SpecValid", "SpecInvalid"),
        (
            seen(
                object=an_object(spec=spec(sources=[{"files": {"uri": "/etc"}}])),
                site=replace(SITE, allowed_prefixes="/data"),
            ),
            "SpecValid",
            "NotAllowed",
        ),
        (
            seen(object=an_object(spec=COOKIES), site=replace(SITE, credentials={})),
            "CredentialsReady",
            "CredentialsMissing",
        ),
        (seen(models={}), "ModelsReady", "ModelsMissing"),
        (seen(row=a_row(owner_installation="x"), progress=a_progress()), "Ready", "NotOwner"),
    ],
)
def test_what_somebody_must_mend_is_said_and_decided(
    what: Seen, condition: str, reason: str
) -> None:
    """In its own condition, in Ready and in Stalled; the generation counts as observed."""
    status = said(what)
    found = conditions(status)
    assert found[condition] == found["Ready"] == ("False", reason)
    assert found["Stalled"] == ("True", reason)
    assert found["Complete"] == ("False", "NotApplied")
    assert "Reconciling" not in found
    assert message(status, "Stalled") == message(status, "Ready") == message(status, condition)
    assert status["observedGeneration"] == 1
    assert (status["phase"], status["reason"]) == ("Stalled", reason)
    assert not {"projectId", "images", "stages", "progress"} & set(status)


def test_a_store_of_models_that_is_away_takes_nothing_back() -> None:
    """What was complete stays so, since when it was; only what nobody knows is said to be so."""
    there = applied(seen(), DONE)
    before = said(there)
    away = replace(there, models={n: absent(n, away=True, problem="silent") for n in MODELS})
    status = said(replace(away, now=away.now + timedelta(hours=1)), before)
    found = conditions(status)
    assert found["ModelsReady"] == found["Ready"] == ("Unknown", "ModelStoreUnreachable")
    assert not found.keys() & {"Reconciling", "Stalled"}
    for field in ("phase", "completedAt", "observedGeneration", "images"):
        assert status[field] == before[field]
    assert said(replace(there, now=there.now + timedelta(hours=2)), status)["phase"] == "Complete"


def test_a_store_of_models_that_is_away_holds_up_what_is_new() -> None:
    """An edit is not applied yet, and nobody has to mend it."""
    before = said(applied(seen()))
    models = {n: absent(n, away=True, problem="silent") for n in MODELS}
    status = said(replace(applied(seen()), models=models, object=an_object(generation=2)), before)
    found = conditions(status)
    assert found["Reconciling"] == ("True", "ModelStoreUnreachable")
    assert found["Complete"] == ("False", "Applying")
    assert "Stalled" not in found
    assert status["observedGeneration"] == 1
    assert message(status, "ModelsReady") == "silent"


def test_a_model_that_is_being_made_is_waited_for() -> None:
    """Nobody has to mend anything, and the generation is not decided on yet."""
    status = said(seen(models=LACKING), {"observedGeneration": 1})
    found = conditions(status)
    assert found["ModelsReady"] == found["Ready"] == ("False", "MakingModels")
    assert found["Reconciling"] == ("True", "MakingModels")
    assert "Stalled" not in found
    generation_2 = seen(models=LACKING, object=an_object(generation=2))
    assert said(generation_2, {"observedGeneration": 1})["observedGeneration"] == 1


def test_the_last_good_spec_goes_on_below_a_refused_one() -> None:
    """Its numbers are shown, with the target that it had."""
    good = applied(seen(object=an_object(spec=spec(target={"images": 50}))))
    before = said(good)
    bad = replace(good, object=an_object(spec=INVALID, generation=2))
    status = said(bad, before)
    assert status["observedGeneration"] == 2
    assert (status["phase"], status["reason"]) == ("Mining", "SpecInvalid")
    assert status["images"] == before["images"]
    assert message(status, "SpecValid").startswith("spec.priority: got 5000")
    assert said(bad, {"images": "many"})["images"] == {"kept": 0}


def test_a_project_that_gets_no_further_is_stalled() -> None:
    """With the catalogue's own reason."""
    status = said(applied(seen(), STALLED))
    found = conditions(status)
    assert found["Ready"] == ("False", "NothingFound")
    assert found["Stalled"] == ("True", "NothingFound")
    assert found["Complete"] == ("False", "Stalled")
    assert found["WorkersAvailable"] == ("True", "NotNeeded")
    assert (status["phase"], status["reason"]) == ("Stalled", "NothingFound")
    assert "eta" not in status


def test_a_complete_project_says_since_when() -> None:
    """And keeps saying so while it stays complete, whatever the time is."""
    done = applied(seen(), DONE, unique=20, exported=20)
    status = said(done)
    assert conditions(status)["Complete"] == ("True", "AllDone")
    assert conditions(status)["Ready"] == ("True", "Applied")
    assert status["completedAt"] == stamp(NOW)
    assert status["progress"] == 100
    later = replace(done, now=NOW + timedelta(days=1))
    assert said(later, status) == status


def test_a_target_that_is_reached_is_the_reason_of_completion() -> None:
    """As the catalogue judges it."""
    reached = applied(seen(), Phase(PhaseName.COMPLETE, "TargetReached", "complete: 50 images"))
    assert conditions(said(reached))["Complete"] == ("True", "TargetReached")
    assert said(reached)["reason"] == "TargetReached"


def test_an_edit_ends_completion_until_it_is_applied() -> None:
    """`kubectl wait` must not take the old completion for the new one's."""
    done = applied(seen(), DONE)
    before = said(done)
    status = said(edited(done, weight=2), before)
    assert conditions(status)["Complete"] == ("False", "Applying")
    assert status["observedGeneration"] == 1
    assert status["phase"] == "Pending"
    assert "completedAt" not in status
    assert status["progress"] == 0


def test_an_edit_that_is_applied_at_once_leaves_a_complete_project_complete() -> None:
    """Nothing of it makes work, so its time of completion stays."""
    done = applied(seen(), DONE)
    before = said(done)
    again = replace(
        applied(seen(object=an_object(spec=spec(weight=2), generation=2)), DONE),
        now=NOW + timedelta(hours=1),
    )
    status = said(again, before)
    assert status["observedGeneration"] == 2
    assert status["completedAt"] == before["completedAt"]


def test_new_work_ends_completion_and_the_next_one_has_its_own_time() -> None:
    """A completion is dated when it is seen."""
    done = applied(seen(), DONE)
    working = said(applied(seen()), said(done))
    assert conditions(working)["Complete"] == ("False", "InProgress")
    assert "completedAt" not in working
    later = replace(done, now=NOW + timedelta(hours=1))
    assert said(later, working)["completedAt"] == "2026-11-21T13:00:00Z"


def test_a_time_of_completion_that_is_none_is_replaced() -> None:
    """Somebody has edited the status by hand."""
    before = {**said(applied(seen(), DONE)), "completedAt": "once"}
    assert said(applied(seen(), DONE), before)["completedAt"] == stamp(NOW)


def test_a_suspended_project_is_as_ready_as_can_be() -> None:
    """Nothing is needed for it, and it is not complete."""
    status = said(applied(seen(object=an_object(spec=spec(suspend=True)), pools=()), PAUSED))
    found = conditions(status)
    assert found["Suspended"] == ("True", "Suspended")
    assert message(status, "Suspended") == PAUSED.message
    assert found["Ready"] == ("True", "Applied")
    assert found["Complete"] == ("False", "Suspended")
    assert found["WorkersAvailable"] == ("True", "NotNeeded")
    assert (status["phase"], status["reason"]) == ("Suspended", "Suspended")


def test_a_project_that_was_never_begun_is_suspended_when_it_says_so() -> None:
    """Its spec is refused, and nothing runs."""
    status = said(seen(object=an_object(spec={**INVALID, "suspend": True})))
    assert conditions(status)["Suspended"] == ("True", "Suspended")
    assert status["phase"] == "Suspended"


def test_a_row_that_was_stopped_in_an_emergency_says_so() -> None:
    """The object asks for it no more, but the spec cannot be applied."""
    what = seen(
        object=an_object(spec=INVALID), row=a_row(suspended=True), progress=a_progress(PAUSED)
    )
    assert message(said(what), "Suspended") == "until the spec can be applied"
    asked = replace(what, object=an_object(spec={**INVALID, "suspend": True}), progress=None)
    assert conditions(said(asked))["Suspended"] == ("True", "Suspended")


def test_workers_count_only_where_there_is_work() -> None:
    """A pool in trouble is the reason to show, unless nothing is left for it."""
    crashing = (replace(POOL, crashing=1),)
    busy = applied(seen(pools=crashing), stages=[stage("download", 3, ready=3)])
    status = said(busy)
    assert conditions(status)["WorkersAvailable"] == ("False", "CrashLooping")
    assert conditions(status)["Ready"] == ("True", "Applied")
    assert status["reason"] == "CrashLooping"
    idle = applied(seen(pools=crashing), stages=[stage("download", 3, done=3)])
    assert conditions(said(idle))["WorkersAvailable"] == ("True", "Available")


def test_a_pool_that_is_missing_shows_before_there_is_any_work() -> None:
    """All stages that the project will have count."""
    assert conditions(said(seen(pools=())))["WorkersAvailable"] == ("False", "NoPool")
    assert conditions(said(seen(pools=None)))["WorkersAvailable"] == ("Unknown", "NotListed")


def test_a_site_that_throttles_is_the_reason_while_all_waits() -> None:
    """Instead of a bare wait."""
    waits = Phase(PhaseName.MINING, "WaitingToRetry", "what is left is tried again in 60 s")
    limit = Failure("download", "throttled", 2, "abc", "HTTP 429")
    status = said(applied(seen(), waits, put_off=(limit,)))
    assert conditions(status)["Throttled"] == ("True", "SiteLimit")
    assert status["reason"] == "Throttled"
    assert said(applied(seen(), waits))["reason"] == "WaitingToRetry"


def test_what_has_failed_for_good_is_told_where_a_project_stops_or_is_complete_without_it() -> None:
    """The first of it, with its class and its words."""
    killed = Failure("embed", "out_of_memory", 3, "abc", "OOMKilled: the limit is 4Gi")
    words = "; embed out_of_memory: OOMKilled: the limit is 4Gi"
    status = said(applied(seen(), STALLED, failures=(killed,)))
    assert message(status, "Stalled") == message(status, "Ready") == STALLED.message + words
    complete = replace(DONE, reason="CompleteWithFailures")
    status = said(applied(seen(), complete, failures=(killed,)))
    assert message(status, "Complete") == DONE.message + words


def test_a_database_that_is_away_flips_nothing_else() -> None:
    """The last numbers stay, and so does the generation that they are of."""
    for phase in (WORKING, DONE, STALLED, PAUSED):
        what = applied(seen(), phase, found=9, dataset=a_dataset())
        before = said(what)
        status = said(replace(what, away="db:5432: no answer", row=None, progress=None), before)
        found = conditions(status)
        assert found.pop("DatabaseReachable") == ("False", "Unreachable")
        assert found.pop("Ready") == ("Unknown", "DatabaseUnreachable")
        assert found.items() <= conditions(before).items()
        assert message(status, "DatabaseReachable") == "db:5432: no answer"
        same = {name for name in before if name not in ("conditions", "reason")}
        assert {name: status[name] for name in same} == {name: before[name] for name in same}


def test_a_database_that_comes_back_leaves_no_trace() -> None:
    """But for the time at which it did."""
    what = applied(seen(), DONE)
    before = said(what)
    status = said(what, said(replace(what, away="no answer"), before))
    assert status == before


def test_an_edit_while_the_database_is_away_waits() -> None:
    """Its generation is not observed, and nothing is complete for it."""
    done = applied(seen(), DONE)
    before = said(done)
    status = said(replace(edited(done, weight=2), away="no answer"), before)
    found = conditions(status)
    assert status["observedGeneration"] == 1
    assert found["Ready"] == ("Unknown", "DatabaseUnreachable")
    assert found["Reconciling"] == ("True", "DatabaseUnreachable")
    assert found["Complete"] == ("False", "Applying")
    assert (status["phase"], status["progress"]) == ("Pending", 99)
    assert "completedAt" not in status


def test_a_refusal_needs_no_database() -> None:
    """What must be mended is said at once; the generation is observed when the rest is known."""
    status = said(seen(object=an_object(spec=INVALID), away="no answer"))
    found = conditions(status)
    assert found["Ready"] == found["SpecValid"] == ("False", "SpecInvalid")
    assert found["Stalled"] == ("True", "SpecInvalid")
    assert found["Complete"] == ("False", "NotApplied")
    assert "observedGeneration" not in status


def test_a_new_object_while_the_database_is_away_says_so() -> None:
    """What nobody knows is Unknown."""
    status = said(seen(away="no answer"))
    found = conditions(status)
    assert found["Suspended"] == found["Throttled"] == ("Unknown", "DatabaseUnreachable")
    assert found["Reconciling"] == ("True", "DatabaseUnreachable")
    assert (status["phase"], status["reason"]) == ("Pending", "DatabaseUnreachable")


def test_a_disabled_object_keeps_what_was_said_of_it() -> None:
    """But nobody vouches for it any more."""
    frozen = an_object(annotations={"reconcile": "disabled"}, generation=2)
    before = said(applied(seen(), DONE))
    status = said(seen(object=frozen), before)
    found = conditions(status)
    assert found.pop("Ready") == ("Unknown", "ReconciliationDisabled")
    assert found.items() <= conditions(before).items()
    assert status["observedGeneration"] == 1
    assert status["completedAt"] == before["completedAt"]
    fresh = conditions(said(seen(object=frozen, away="no answer")))
    assert fresh["SpecValid"] == ("Unknown", "ReconciliationDisabled")
    assert fresh["DatabaseReachable"] == ("False", "Unreachable")


def test_a_token_that_was_acted_on_is_shown() -> None:
    """So that whoever asked sees that it was heard."""
    what = applied(seen(object=an_object(annotations={"retry-failed": "7"})))
    assert what.row is not None
    assert "retried" not in said(what)
    assert said(replace(what, row=replace(what.row, retried="7")))["retried"] == "7"


def test_a_status_that_makes_no_sense_is_replaced() -> None:
    """Somebody has edited it by hand."""
    odd: Any = {"conditions": "none", "observedGeneration": "x", "images": 3, "eta": 5, "phase": 1}
    assert said(applied(seen()), odd) == said(applied(seen()))
    assert said(applied(seen()), "fine") == said(applied(seen()))  # type: ignore[arg-type]


def test_secrets_in_what_is_said_are_masked() -> None:
    """An error may quote an address."""
    status = said(seen(away="postgresql://miner:hush@db/x: no answer"))
    assert "hush" not in str(status)


def test_a_project_that_downloads_only_has_no_images() -> None:
    """Neither kept nor exported."""
    bare = spec(filter=None, dedup=None, detect=None, export=None)
    what = applied(seen(object=an_object(spec=bare)), stages=[stage("download", 3, done=3)])
    assert "images" not in said(what)
