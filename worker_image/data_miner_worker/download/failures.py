"""What went wrong on the way to a video, by name: that decides what happens next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from data_miner.stage import Later, Skip, StageError

THROTTLED_SECONDS: Final = 300.0
"""How long to stay away from a site that said too many, but not for how long."""
BOT_CHECK_SECONDS: Final = 3600.0
_LONGEST_SECONDS: Final = 24 * 3600.0


class Instead(Exception):  # noqa: N818
    """The download ends with this outcome, which is no failure."""

    def __init__(self, outcome: Later | Skip) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def too_large(size: int, most: int) -> Instead:
    """For a file with more bytes than the project wants."""
    return Instead(Skip(f"TooLarge: {size} bytes, at most {most}"))


def for_status(status: int, headers: Mapping[str, str], what: str) -> Exception:
    """The failure, or the outcome, that an HTTP status other than 2xx means."""
    wait = retry_after_seconds(headers.get("Retry-After"), datetime.now(UTC))
    if status == 429 or (status >= 500 and wait is not None):
        return Instead(Later(wait or THROTTLED_SECONDS, f"throttled: {what}: HTTP {status}"))
    name, permanent = _STATUS.get(status, ("refused", True))
    if status >= 500 and status not in _STATUS:
        name, permanent = "server_error", False
    hint = "; it may need a credential (spec.download.secretRef)" if name == "denied" else ""
    return StageError(name, f"{what}: HTTP {status}{hint}", permanent=permanent)


_STATUS: Final = {
    401: ("denied", True),
    403: ("denied", True),
    404: ("not_found", True),
    407: ("denied", True),
    408: ("timeout", False),
    410: ("not_found", True),
    451: ("unavailable", True),
    504: ("timeout", False),
}
"""Error class by status, and whether another try is of no use."""


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks to wait, 1 to 86400; None when it says nothing."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 1.0), _LONGEST_SECONDS)


_SAID: Final = (
    # What sites say, through yt-dlp; the first pattern that fits decides.
    (r"not a bot|HTTP Error 429|Too Many Requests|rate-?limit|captcha", "throttled"),
    (r"live event will begin|Premieres in|premiere will begin|is not currently live", "live"),
    (r"HTTP Error (404|410)|does not exist|Not Found", "not_found"),
    (r"confirm your age|age.restricted|inappropriate for some users", "age_restricted"),
    (r"your (country|location|region)|geo.?(restrict|block)", "geo_blocked"),
    (r"private video|video is private|unavailable|removed|no longer available", "unavailable"),
    (r"terminated|deleted|members.only|join this channel|takedown|copyright", "unavailable"),
    (r"login|log in|sign in|HTTP Error 40[13]|cookies", "denied"),
    (r"Unsupported URL|no video (formats )?found|is not a valid URL", "not_a_video"),
    (r"Requested format is not available|only images are available", "no_video_stream"),
    (r"timed? ?out", "timeout"),
    (r"HTTP Error 5\d\d", "server_error"),
    (r"resolve|getaddrinfo|connection|network|unreachable|SSL|certificate", "unreachable"),
    (r"No space left", "disk_full"),
)
_PASSING: Final = frozenset({"timeout", "server_error", "unreachable", "disk_full"})


def for_message(message: str, what: str) -> Exception:
    """The failure, or the outcome, that a site's message means; ``site_error`` when it is new."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(message.split())).removeprefix("ERROR: ")
    text = text.partition("; please report this issue")[0][:300]
    name = next((name for pattern, name in _SAID if re.search(pattern, text, re.I)), None)
    if name == "throttled":
        seconds = BOT_CHECK_SECONDS if "bot" in text else THROTTLED_SECONDS
        return Instead(Later(seconds, f"throttled: {what}: {text}"))
    if name == "live":
        return Instead(Skip(f"Live: {text}"))
    known = name or "site_error"
    permanent = name is not None and name not in _PASSING
    return StageError(known, f"{what}: {text}", permanent=permanent)
