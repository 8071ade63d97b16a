"""What a stage may do wrong has a name, uses its own budget, and touches no neighbour."""

from __future__ import annotations

from urllib.parse import urlsplit

from support.objects import bucket
from support.worker import Site, alive, eventually

FAULTS = {
    "hang=1": ("stalled", "no progress for 0.9 s"),
    "segfault=1": ("crashed", "killed by SIGSEGV"),
    "exit=7": ("crashed", "exit status 7"),
    "eat=1": ("out_of_memory", "at most 400 MB"),
    "memoryerror=1": ("out_of_memory", "memory ran out inside the stage"),
    "bug=here": ("unexpected", "RuntimeError: a bug in here"),
    "fail=9": ("flaky", "attempt 1 fails"),
}


def test_every_fault_has_its_class_and_harms_nobody(here: Site) -> None:
    """Two attempts each and no loss; tasks that ran between them needed one attempt."""
    videos = []
    for number, fault in enumerate(FAULTS):
        videos += [f"bad-{number}?{fault}", f"good-{number}"]
    here.apply(*videos)

    worker = here.worker(
        "--until-idle",
        DATA_MINER_STALL_FACTOR="0.003",
        DATA_MINER_MAX_ATTEMPTS="2",
        DATA_MINER_TASK_MEMORY_MB="400",
    )

    assert worker.wait(60) == 0
    for number, (error_class, words) in enumerate(FAULTS.values()):
        task = here.task(f"bad-{number}")
        assert task is not None
        assert (task["state"], task["error_class"]) == ("failed", error_class)
        assert words in task["error"]
        assert "\n" not in task["error"]
        assert (task["attempt"], task["lost_count"]) == (2, 0)
        good = here.result(f"good-{number}")
        assert good is not None
        assert good["attempts"] == 1
    assert len(here.rows("SELECT FROM tasks")) == len(FAULTS)
    assert "Traceback" in worker.log()
    assert not list((here.home / "scratch").glob("w*"))


def test_a_failure_that_cannot_be_mended_is_not_tried_again(here: Site) -> None:
    """A permanent failure is a dead letter after one attempt; a passing one ends in a result."""
    here.apply("never?permanent=not_a_video", "soon?fail=2")

    here.worker("--until-idle").wait()

    task, result = here.task("never"), here.result("soon")
    assert task is not None
    assert result is not None
    assert (task["state"], task["attempt"], task["error_class"]) == ("failed", 1, "not_a_video")
    assert result["attempts"] == 3


def test_a_run_that_is_ended_takes_its_programs_with_it(here: Site) -> None:
    """A run that does not stop when told is killed together with what its stage had started."""
    here.apply("a?grandchild=g")
    worker = here.worker()
    (child,) = eventually(lambda: here.at_gate("g"))
    grandchild = int((here.gates / "g.grandchild").read_text())

    with here.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM tasks")

    eventually(lambda: not alive(child) and not alive(grandchild))
    assert alive(worker.pid)


def test_a_lost_file_is_made_again(here: Site) -> None:
    """A stage whose input vanished from the store waits for it, and uses no attempt."""
    here.apply("a", stages="extract")
    here.worker("--until-idle", "--stages", "discover,download").wait()
    for path in here.store.rglob("*.bin"):
        path.unlink()

    here.worker("--until-idle").wait()

    result = here.result("a", "extract")
    assert result is not None
    assert result["attempts"] == 1
    files = here.rows("SELECT kind, generation FROM artifacts WHERE deleted_at IS NULL")
    assert {(f["kind"], f["generation"]) for f in files} == {("source", 2), ("index", 1)}


def test_a_full_disk_is_waited_for(here: Site) -> None:
    """A task that finds no room is put off under that name, and done when there is room."""
    here.apply("a?full=room")
    here.worker()
    task = eventually(lambda: (t := here.task("a")) and t["error_class"] == "disk_full" and t)

    here.open_gate("room")

    assert task["attempt"] == 0
    assert eventually(lambda: here.result("a"))["attempts"] == 1


def test_a_store_that_does_not_answer_is_waited_for(here: Site) -> None:
    """A task that cannot reach the bucket is put off under that name, and done when it is back."""
    here.apply("a")
    with bucket() as away:
        port, environment = urlsplit(away.endpoint).port or 0, away.environment
    environment |= {"DATA_MINER_STORAGE_URI": away.uri, "DATA_MINER_STALL_FACTOR": "1"}
    here.worker(slots=1, **environment)
    task = eventually(
        lambda: (t := here.task("a")) and t["error_class"] == "store_unreachable" and t,
        within_seconds=60,
    )

    with bucket(port):
        assert eventually(lambda: here.result("a"), within_seconds=60)["attempts"] == 1

    assert task["attempt"] == 0
    assert task["error"].endswith("; the task runs again")


def test_tries_that_gave_no_result_are_part_of_what_it_cost(here: Site) -> None:
    """What failed twice has cost three tries; a dead letter has cost what its tries did."""
    here.apply("soon?count=2&fail=2", "never?count=5&permanent=not_a_video", "once?count=2")

    here.worker("--until-idle").wait()

    soon, once, never = here.result("soon"), here.result("once"), here.task("never")
    assert soon is not None
    assert once is not None
    assert never is not None
    assert soon["cost"]["requests"] == 6
    assert once["cost"]["requests"] == 2
    assert never["spent"]["requests"] == 5
    assert soon["cost"]["cpu_seconds"] > 0
