"""A node's disk is full, or a worker's share of it: Kubernetes evicts, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from support.release import Release, merged
from support.release_chaos import BRITTLE, Held, Mined

pytestmark = pytest.mark.timeout(900)

SHARE_MB: Final = 128
FILL: Final = f"""
with open("/var/lib/data-miner/filler", "wb") as file:
    for _ in range({2 * SHARE_MB}):
        file.write(bytes(1 << 20))
"""


@pytest.fixture(scope="module")
def brittle(release: Release) -> Iterator[Release]:
    """The release, whose workers may have little of their nodes' disks."""
    small = {"workers": {"defaults": {"scratch": {"sizeLimit": f"{SHARE_MB}Mi"}}}}
    release.install(**merged(BRITTLE, small))
    yield release
    release.install()


def test_workers_that_are_evicted_from_a_full_disk_lose_their_tasks_to_others_and_nothing_else(
    mined: Mined, struck_digest: str
) -> None:
    filled: set[str] = set()

    def fill(_: Held) -> None:
        filled.update(mined.pods_of())
        for pod in filled:
            mined.release.k("exec", pod, "--", "python", "-c", FILL)

    mined.strike(fill, kills=False)
    last: dict[str, Held] = {}

    def evicted() -> bool:
        last.update({held.pod: held for held in mined.held() if held.pod in filled})
        return filled <= mined.evicted()

    mined.wait(evicted, "every worker is evicted")
    lost = [held for held in last.values() if mined.is_held(held)]
    print(f"{mined.case}: {len(lost)} tasks were held: {', '.join(map(str, lost))}")  # noqa: T201
    assert lost, "nobody worked when they were evicted"
    for held in lost:
        mined.mended(held)
    mined.complete(struck_digest)
    assert set(mined.attempts().values()) == {1}
    assert not filled & mined.pods_of()
