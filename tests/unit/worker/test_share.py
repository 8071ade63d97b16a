"""A task process takes no more of its machine than its container may."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from data_miner_worker.share import Share, cpu_limit, patient, threads_each


@pytest.mark.parametrize(
    ("slots", "limit", "threads"),
    [
        (1, None, 1),
        (4, None, 1),
        (1, 4.0, 4),
        (2, 4.0, 2),
        (3, 4.0, 1),
        (8, 4.0, 1),
        (1, 0.25, 1),
        (1, 1.5, 1),
        (2, 7.9, 3),
    ],
)
def test_the_limit_is_shared_by_the_slots(slots: int, limit: float | None, threads: int) -> None:
    """Rounded down, at least one; one where there is no limit."""
    assert threads_each(slots, limit) == threads


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a machine with 64 processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    return tmp_path / "cgroup"


def limit(groups: Path, own: str = "0::/\n") -> float | None:
    (groups.parent / "own").write_text(own)
    return cpu_limit(groups, groups.parent / "own")


def test_a_containers_quota_is_read_in_version_2(groups: Path) -> None:
    """The container sees its own group as the root."""
    write(groups, cpu__max="250000 100000")
    assert limit(groups) == 2.5


def test_a_containers_quota_is_read_in_version_1(groups: Path) -> None:
    """Its group has the name that the machine gave it, which is not there in the container."""
    write(groups / "cpu", cpu__cfs_quota_us="400000", cpu__cfs_period_us="100000")
    assert limit(groups, "4:memory:/pod1\n3:cpu,cpuacct:/pod1/abc\n0::/\n") == 4


def test_the_strictest_of_all_quotas_above_holds(groups: Path) -> None:
    """A service of systemd may have one, and its slice another."""
    write(groups / "a.slice", cpu__max="300000 100000")
    write(groups / "a.slice" / "b.service", cpu__max="max 100000")
    write(groups / "other", cpu__max="100000 100000")
    assert limit(groups, "0::/a.slice/b.service\n") == 3


@pytest.mark.parametrize("own", ["0::/\n", "3:cpu:/\n", ""])
def test_no_quota_is_no_limit(groups: Path, own: str) -> None:
    """Both versions have a word for it, and a laptop may have neither."""
    assert limit(groups, own) is None
    write(groups, cpu__max="max 100000")
    write(groups / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert limit(groups, own) is None


def test_processors_that_the_process_may_not_use_do_not_count(
    groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota of eight on two processors is two."""
    write(groups, cpu__max="800000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5})
    assert limit(groups) == 2


def test_this_machine_can_be_asked() -> None:
    """Whatever it says, it is a number of processors or nothing."""
    found = cpu_limit()
    assert found is None or 0 < found <= len(os.sched_getaffinity(0))


def speaking() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "patient"]


def test_a_long_call_says_that_it_goes_on() -> None:
    """Until it is over, and no longer."""
    signs = threading.Semaphore(0)
    with patient(Share(alive=signs.release), every_seconds=0.001):
        for _ in range(3):
            assert signs.acquire(timeout=60)
    assert not speaking()


def test_a_call_that_fails_says_nothing_more() -> None:
    """Its error is the caller's."""
    with pytest.raises(RuntimeError), patient(Share()):
        raise RuntimeError
    assert not speaking()


def test_a_call_that_hangs_is_found_out() -> None:
    """After a while nobody speaks for it."""
    signs = threading.Semaphore(0)
    with patient(Share(alive=signs.release), every_seconds=0.001, at_most_seconds=0.05):
        assert signs.acquire(timeout=60)
        for thread in speaking():
            thread.join(60)
        assert not speaking()
