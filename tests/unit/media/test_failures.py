"""What an answer of a web site means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from data_miner.stage import Later, Skip, StageError
from data_miner_worker.download.failures import (
    Instead,
    for_message,
    for_status,
    retry_after_seconds,
)
from data_miner_worker.download.reach import is_public

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "name", "permanent"),
    [
        (404, "not_found", True),
        (410, "not_found", True),
        (401, "denied", True),
        (403, "denied", True),
        (418, "refused", True),
        (451, "unavailable", True),
        (500, "server_error", False),
        (503, "server_error", False),
        (504, "timeout", False),
        (408, "timeout", False),
    ],
)
def test_statuses_have_names(status: int, name: str, permanent: bool) -> None:
    """Gone is for ever, a server's own trouble is not."""
    failure = for_status(status, {}, "https://x.test/a")
    assert isinstance(failure, StageError)
    assert (failure.error_class, failure.permanent) == (name, permanent)


@pytest.mark.parametrize("status", [429, 503])
def test_a_site_that_names_a_time_is_asked_again_then(status: int) -> None:
    """Retry-After is obeyed and no attempt is used."""
    failure = for_status(status, {"Retry-After": "17"}, "https://x.test/a")
    assert isinstance(failure, Instead)
    assert isinstance(failure.outcome, Later)
    assert failure.outcome.seconds == 17
    assert failure.outcome.reason.startswith("throttled")


def test_retry_after_may_be_a_date() -> None:
    """Seconds, a date, or nonsense; never more than a day, never less than a second."""
    assert retry_after_seconds("Thu, 01 Jan 2026 00:02:00 GMT", NOW) == 120
    assert retry_after_seconds("Thu, 01 Jan 2020 00:00:00 GMT", NOW) == 1
    assert retry_after_seconds("999999999", NOW) == 86400
    assert retry_after_seconds("soon", NOW) is None
    assert retry_after_seconds(None, NOW) is None


@pytest.mark.parametrize(
    ("message", "name", "permanent"),
    [
        (
            "ERROR: [youtube] abc: Private video. Sign in if you've been granted",
            "unavailable",
            True,
        ),
        ("ERROR: [youtube] abc: Video unavailable. This video is gone", "unavailable", True),
        ("[youtube] abc: This video has been removed by the uploader", "unavailable", True),
        ("[youtube] abc: Join this channel to get access to members-only", "unavailable", True),
        ("[youtube] Sign in to confirm your age. This video may be", "age_restricted", True),
        ("The uploader has not made this video available in your country", "geo_blocked", True),
        ("[generic] Unsupported URL: https://x.test", "not_a_video", True),
        ("Requested format is not available", "no_video_stream", True),
        ("HTTP Error 404: Not Found", "not_found", True),
        ("Unable to download webpage: The read operation timed out", "timeout", False),
        ("HTTP Error 502: Bad Gateway", "server_error", False),
        ("[Errno -2] Name or service not known: Failed to resolve 'x'", "unreachable", False),
        ("something that nobody has seen before", "site_error", False),
    ],
)
def test_messages_have_names(message: str, name: str, permanent: bool) -> None:
    """What sites say through yt-dlp; what is new may pass, so it is tried again."""
    failure = for_message(message, "https://x.test")
    assert isinstance(failure, StageError)
    assert (failure.error_class, failure.permanent) == (name, permanent)
    assert "\n" not in str(failure)


@pytest.mark.parametrize(
    "message", ["Sign in to confirm you are not a bot. Use --cookies", "HTTP Error 429: Too Many"]
)
def test_a_bot_check_is_later_and_no_failure(message: str) -> None:
    """The video is not to blame."""
    failure = for_message(message, "https://x.test")
    assert isinstance(failure, Instead)
    assert isinstance(failure.outcome, Later)


def test_a_premiere_is_skipped() -> None:
    """There is nothing to fetch yet."""
    failure = for_message("Premieres in 3 days", "https://x.test")
    assert isinstance(failure, Instead)
    assert isinstance(failure.outcome, Skip)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    """Loopback, private, link-local, shared and what is written as IPv6 but means IPv4."""
    assert is_public(address) is public
