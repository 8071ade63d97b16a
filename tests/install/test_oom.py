"""A worker's container that reaches its memory limit, in the middle of a project.

The kernel of a node with cgroup version 1 ends the largest process, which runs the task; with
version 2 it ends the container. Both are tried: the limit and the kill are the kernel's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from support.realnode import OwnCluster
from support.release import Release, merged
from support.release_chaos import BRITTLE, NAME, Mined
from support.release_memory import oom_kill

pytestmark = pytest.mark.timeout(900)

HUNGRY: Final = "embed"
"""The stage that needs most: more than 100 MiB beside the 50 of the worker itself."""
OTHERS: Final = "discover,download,extract,filter,dedup_embed,dedup,cut,detect,export"
TIGHT: Final = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "150Mi"}}
ROOMY: Final = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}


def pools(*, elsewhere: bool, resources: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """Values with a pool for the hungry stage alone; `elsewhere`: others serve that stage too."""
    one = {"warmReplicas": 1, "maxReplicas": 1}
    return merged(
        BRITTLE,
        {
            "settings": {"backoffMaxSeconds": 4, "rescueSeconds": 2, **settings},
            "workers": {
                # Nobody but the kernel looks at how much a task holds.
                "defaults": {"scaling": one, "taskMemoryMb": 0},
                "pools": {
                    "default": {"stages": "default" if elsewhere else OTHERS, "resources": ROOMY},
                    "hungry": {"stages": HUNGRY, "resources": resources},
                },
            },
        },
    )


@pytest.fixture(scope="module")
def brittle(release: Release) -> Iterator[Release]:
    """The release, whose pools each test sizes."""
    yield release
    release.install()


def test_a_task_that_is_killed_for_memory_is_tried_again_and_done_by_a_worker_that_has_more(
    waiting: Mined, struck_digest: str
) -> None:
    waiting.release.install(**pools(elsewhere=True, resources=TIGHT, maxAttempts=50))
    waiting.begin()
    waiting.wait(
        lambda: any(one[2] == "out_of_memory" for one in waiting.failures()),
        "a task was killed for memory",
    )
    waiting.complete(struck_digest)
    assert waiting.attempts()[HUNGRY] > 1
    assert all("-worker-default-" in worker for worker in waiting.workers_of(HUNGRY))


def test_a_task_that_has_too_little_memory_everywhere_is_a_dead_letter_that_says_so(
    waiting: Mined, struck_digest: str
) -> None:
    waiting.release.install(**pools(elsewhere=False, resources=TIGHT, maxAttempts=2))
    waiting.begin()
    waiting.wait(
        lambda: (
            [one[:3] for one in waiting.failures()] == [("failed", HUNGRY, "out_of_memory")] * 3
        ),
        "every task of the hungry stage is a dead letter",
    )
    assert all("OOMKilled" in one[3] for one in waiting.failures())
    where = f"--namespace={waiting.namespace}"
    waiting.release.kubectl("wait", f"mp/{NAME}", "--for=condition=Stalled", where, "--timeout=60s")
    told = waiting.release.project(NAME, namespace=waiting.namespace)["status"]
    assert "OOMKilled" in next(c["message"] for c in told["conditions"] if c["type"] == "Stalled")

    # What its user does: more memory, and once more.
    waiting.release.install(**pools(elsewhere=False, resources=ROOMY, maxAttempts=2))
    again = "data-miner.io/retry-failed=more-memory"
    waiting.release.kubectl("annotate", f"mp/{NAME}", again, where)
    waiting.complete(struck_digest)


def test_a_worker_whose_whole_container_is_killed_for_memory_loses_its_task_with_that_reason(
    waiting: Mined, real_nodes: OwnCluster, struck_digest: str
) -> None:
    waiting.release.install(**pools(elsewhere=True, resources=TIGHT, maxAttempts=50))
    waiting.begin()
    held = waiting.strike(
        lambda it: oom_kill(real_nodes, it.pod, waiting.release.namespace),
        pool="hungry",
        stages=(HUNGRY,),
    )
    waiting.wait(
        lambda: any(
            one[1:3] == (HUNGRY, "out_of_memory") and held.pod in one[3]
            for one in waiting.failures()
        ),
        "the task is taken back with that reason",
    )
    assert waiting.last_end(held.pod) == ("OOMKilled", 137)
    waiting.complete(struck_digest)
