"""Keeps downloads from addresses inside: who may name a URL must not look into our own network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from data_miner.stage import StageError

ALLOW: Final = "DATA_MINER_ALLOW_PRIVATE_ADDRESSES"
"""Set to 1, downloads may reach every address."""


@dataclass(slots=True)
class Guard:
    """Remembers what was refused: libraries bury the error under their own."""

    refused: str | None = None

    def check(self) -> None:
        """Raise StageError("forbidden_address") when an address was refused."""
        if self.refused:
            raise StageError(
                "forbidden_address",
                f"{self.refused} is an address inside of a network; set {ALLOW}=1 to allow that",
                permanent=True,
            )


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed.sixtofour or parsed
    return parsed.is_global and not parsed.is_multicast


@contextmanager
def guarded() -> Iterator[Guard]:
    """Within the block, names resolve to public addresses alone, for redirects as well.

    The check is where every library of Python asks for addresses, and they connect to what is
    answered there: a name cannot point elsewhere a moment later. It holds for the whole process,
    which runs one task at a time. A proxy is reached wherever it is; what it reaches is its own
    affair.
    """
    guard = Guard()
    if os.environ.get(ALLOW) == "1":
        yield guard
        return
    resolve = socket.getaddrinfo
    proxies = {urlsplit(address).hostname for address in getproxies().values()}

    def checked(host: Any, *args: Any, **kwargs: Any) -> Any:
        found = resolve(host, *args, **kwargs)
        name = host.decode() if isinstance(host, bytes) else host
        if name in proxies:
            return found
        public = [entry for entry in found if is_public(str(entry[4][0]))]
        if not public:
            guard.refused = f"{name} ({found[0][4][0]})" if found else str(name)
            raise PermissionError(f"{guard.refused} may not be reached")
        return public

    socket.getaddrinfo = checked
    try:
        yield guard
    finally:
        socket.getaddrinfo = resolve
