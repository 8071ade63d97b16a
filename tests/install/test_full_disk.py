"""A worker has filled its share of its node's disk: Kubernetes evicts it, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import pytest

from support.kubectl import KubectlError
from support.release import Release, merged
from support.release_chaos import BRITTLE, Held, Mined

pytestmark = pytest.mark.timeout(900)

SHARE_MB: Final = 128
FILL: Final = f"""
with open("/var/lib/data-miner/filler", "wb") as file:
    for _ in range({2 * SHARE_MB}):
        file.write(bytes(1 << 20))
"""
SLOW: Final = {
    "scratch": {"sizeLimit": f"{SHARE_MB}Mi"},
    # A kubelet looks once a minute at how full a volume is: until then there has to be work.
    "resources": {"limits": {"cpu": "120m", "memory": "1Gi"}},
}


@pytest.fixture(scope="module")
def brittle(release: Release) -> Iterator[Release]:
    """The release, whose workers are slow and may have little of their nodes' disks."""
    release.install(**merged(BRITTLE, {"workers": {"defaults": SLOW}}))
    yield release
    release.install()


def test_workers_that_are_evicted_from_a_full_disk_lose_their_tasks_to_others_and_nothing_else(
    mined: Mined, struck_digest: str
) -> None:
    filled: set[str] = set()

    def fill(_: Held) -> None:
        for pod in mined.pods_of():
            with suppress(KubectlError):  # one that has not started yet
                mined.release.k("exec", pod, "--", "python", "-c", FILL)
                filled.add(pod)

    mined.strike(fill, kills=False)
    lost: list[Held] = []

    def evicted() -> bool:
        # A kubelet's minutes differ from another's: each pod goes when its own one has looked.
        gone = filled & mined.evicted()
        lost.extend(held for held in mined.held() if held.pod in gone and held not in lost)
        return gone == filled

    mined.wait(evicted, f"all {len(filled)} workers are evicted")
    print(f"{mined.case}: they held {', '.join(map(str, lost))}")  # noqa: T201
    assert lost, "nobody worked when they were evicted"
    mined.mended(lost[0])
    mined.complete(struck_digest)
    assert set(mined.attempts().values()) == {1}
    # One that ends by itself in the second that it gets has succeeded, as Kubernetes sees it.
    ended = {
        pod["status"]["phase"]
        for pod in mined.release.pods("worker")
        if pod["metadata"]["name"] in filled
    }
    print(f"{mined.case}: they are {', '.join(sorted(ended))}")  # noqa: T201
    assert ended <= {"Failed", "Succeeded"}
