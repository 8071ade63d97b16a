"""Which errors mean that nobody could reach the store, and so are no failure of the task."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from typing import Final

_NETWORK: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,  # a FUSE mount whose program has ended
        errno.ESTALE,  # an NFS mount whose server lost the file handle
        errno.EREMOTEIO,  # what s3fs makes of InternalError
        errno.EBUSY,  # what s3fs makes of SlowDown and ServiceUnavailable
        errno.ETIMEDOUT,
    }
)
_CLIENTS: Final = (
    ("botocore.exceptions", "ConnectionError"),
    ("botocore.exceptions", "HTTPClientError"),
    ("aiohttp", "ClientConnectionError"),
    ("socket", "gaierror"),
)
"""Types that clients of buckets raise when there is no answer; not all of them are OSErrors."""


def is_away(error: BaseException) -> bool:
    """Whether this error, or the one that it was made from, says that the store did not answer.

    An answer that refuses (no such bucket, denied, not whole) is not that: it will be the same
    the next time, and its task should end.
    """
    if isinstance(error, FileNotFoundError | FileExistsError | PermissionError):
        return False
    return _is_silence(error) or (error.__cause__ is not None and _is_silence(error.__cause__))


def _is_silence(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _NETWORK:
        return True
    return isinstance(error, tuple(_types()))


def _types() -> Iterator[type[BaseException]]:
    # What is not imported cannot have been raised, and a local store pays for no client.
    for module, name in _CLIENTS:
        if module in sys.modules:
            yield getattr(sys.modules[module], name)
