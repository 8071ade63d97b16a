"""Whether a site makes a project wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from data_miner.catalog.failures import Failure
from data_miner_operator.facts import Seen
from data_miner_operator.reconcile import decide, render
from data_miner_operator.reconcile.throttling import HOLD_SECONDS, hold_seconds, throttled
from support.reconciling import an_object, applied, conditions, seen

LIMIT = Failure("download", "throttled", 12, "abc", "video.test: HTTP 429")
DISK = Failure("extract", "disk_full", 3, "abc", "no room")


def after_a_limit(seconds: float) -> Seen:
    """A project so long after a site made it wait, which it does no more."""
    waiting = applied(seen(), put_off=(LIMIT,))
    status = render(waiting, None)
    assert status is not None
    later = waiting.now + timedelta(seconds=seconds)
    return replace(applied(seen(object=an_object(status=status))), now=later)


def test_what_a_site_puts_off_is_told_with_its_words() -> None:
    """How many tasks wait, and what the site said."""
    check = throttled(applied(seen(), put_off=(DISK, LIMIT)))
    assert (check.status, check.reason) == ("True", "SiteLimit")
    assert check.message == "12 tasks wait: video.test: HTTP 429"


def test_what_is_put_off_for_another_cause_is_no_throttling() -> None:
    """A full disk is not a site."""
    assert throttled(applied(seen(), put_off=(DISK,))).status == "False"
    assert throttled(seen()).status == "False"


def test_throttling_is_not_taken_back_within_a_minute() -> None:
    """A site that throttles lets some through in between."""
    soon = after_a_limit(HOLD_SECONDS - 1)
    assert throttled(soon).status == "True"
    assert hold_seconds(soon) == 1
    assert decide(soon).requeue_seconds == 1


def test_throttling_ends_after_a_minute() -> None:
    """Nothing is left to wait for."""
    late = after_a_limit(HOLD_SECONDS)
    assert throttled(late).status == "False"
    assert hold_seconds(late) is None
    assert late.object is not None
    assert conditions(render(late, late.object["status"]))["Throttled"] == ("False", "NotThrottled")


def test_a_clock_that_was_set_back_does_not_hold_it_longer() -> None:
    """At most as long as it is held anyway."""
    assert hold_seconds(after_a_limit(-3600)) == HOLD_SECONDS


def test_a_condition_without_a_time_is_not_held() -> None:
    """Somebody has edited the status by hand."""
    odd = {"conditions": [{"type": "Throttled", "status": "True", "lastTransitionTime": "?"}]}
    assert throttled(applied(seen(object=an_object(status=odd)))).status == "False"
