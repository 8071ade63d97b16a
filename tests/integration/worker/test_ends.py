"""How workers end, by request and by violence, and what becomes of their tasks."""

from __future__ import annotations

import signal
import time

from support.worker import Site, alive, eventually


def test_the_first_signal_lets_tasks_finish(here: Site) -> None:
    """After SIGTERM nothing more is claimed; what runs is recorded, then the worker ends."""
    here.apply("a?gate=g", "b")
    worker = here.worker(slots=1)
    eventually(lambda: here.at_gate("g"))

    worker.signal(signal.SIGTERM)
    eventually(lambda: worker.said("stopping"))
    here.open_gate("g")

    assert worker.wait() == 0
    assert here.result("a") is not None
    task = here.task("b")
    assert task is not None
    assert (task["state"], task["claim_seq"]) == ("ready", 0)


def test_after_the_grace_tasks_are_handed_back(here: Site) -> None:
    """A task that does not finish in time is ready again: no attempt, no loss."""
    here.apply("a?gate=never")
    worker = here.worker(DATA_MINER_GRACE_SECONDS="0.3")
    (child,) = eventually(lambda: here.at_gate("never"))

    worker.signal(signal.SIGTERM)

    assert worker.wait() == 0
    assert not alive(child)
    task = here.task("a")
    assert task is not None
    assert (task["state"], task["attempt"], task["lost_count"]) == ("ready", 0, 0)


def test_the_second_signal_hands_back_at_once(here: Site) -> None:
    """Even with a task that never ticks the worker is gone within five seconds."""
    here.apply("a?hang=1")
    worker = here.worker(DATA_MINER_GRACE_SECONDS="60", DATA_MINER_STALL_FACTOR="1")
    eventually(lambda: (t := here.task("a")) and t["state"] == "running")

    worker.signal(signal.SIGINT)
    eventually(lambda: worker.said("stopping"))
    started = time.monotonic()
    worker.signal(signal.SIGINT)

    assert worker.wait() == 0
    assert time.monotonic() - started < 5
    task = here.task("a")
    assert task is not None
    assert (task["state"], task["attempt"], task["lost_count"]) == ("ready", 0, 0)


def test_a_killed_worker_takes_everything_with_it(here: Site) -> None:
    """After kill -9 no task process and no program of a stage goes on; no attempt is used."""
    here.apply("a?grandchild=g", "b?hang=1")
    worker = here.worker(DATA_MINER_STALL_FACTOR="1")
    eventually(lambda: here.at_gate("g"))
    eventually(lambda: (t := here.task("b")) and t["state"] == "running")
    grandchild = int((here.gates / "g.grandchild").read_text())
    below = eventually(lambda: len(worker.children()) == 2 and worker.children())

    worker.kill()

    eventually(lambda: not any(map(alive, [*below, grandchild])), within_seconds=5)
    here.open_gate("g")
    here.worker(DATA_MINER_STALL_FACTOR="1")
    result = eventually(lambda: here.result("a"))
    assert result["attempts"] == 1
    assert len(list((here.home / "scratch").glob("w*"))) == 1


def test_what_was_lost_twice_is_run_alone(here: Site) -> None:
    """A suspect begins when all others of its worker have ended, and ends before others begin."""
    here.apply("a?gate=g", "b?gate=g")
    worker = here.worker("--stages", "discover,download", slots=2)
    eventually(lambda: len(here.at_gate("g")) == 2)
    _found(here, "poison?gate=p", project="second")
    with here.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE tasks SET lost_count = 2 WHERE video_id = 'poison'")

    here.open_gate("g")
    eventually(lambda: here.at_gate("p"))
    _found(here, "c", project="third")
    here.open_gate("p")
    eventually(here.done("poison", "a", "b", "c"))

    assert worker.said("running_alone")
    times = {r["subject"]: r for r in here.rows("SELECT * FROM results WHERE stage = 'download'")}
    poison = times["poison"]
    assert poison["started_at"] > max(times["a"]["finished_at"], times["b"]["finished_at"])
    assert times["c"]["started_at"] > poison["finished_at"]


def _found(here: Site, video: str, *, project: str) -> None:
    """Apply a project of one video, and have another worker discover it."""
    here.apply(video, name=project)
    assert here.worker("--until-idle", "--stages", "discover").wait() == 0
    # Another session may hold the project at that moment: then the next sweep admits the video.
    eventually(lambda: here.task(video.partition("?")[0]) is not None)
