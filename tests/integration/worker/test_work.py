"""A worker does what there is to do, in processes of their own, and records what it cost."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request

from support.worker import Site, alive, eventually


def test_tasks_become_results_with_files_and_costs(here: Site) -> None:
    """From sources to published files through two stages; afterwards no task is left."""
    here.apply("a", "b", "c", stages="extract")

    assert here.worker("--until-idle").wait() == 0

    assert here.rows("SELECT * FROM tasks") == []
    results = here.rows("SELECT * FROM results ORDER BY stage, subject")
    assert [(r["stage"], r["outcome"], r["attempts"]) for r in results] == [
        ("discover", "done", 1),
        *[("download", "done", 1)] * 3,
        *[("extract", "done", 1)] * 3,
    ]
    cost = results[1]["cost"]
    assert cost["downloads"] == 1
    assert cost["bytes_published"] == len("download a")
    assert 0 < cost["cpu_seconds"] < 20
    assert cost["wall_seconds"] > 0
    assert 10 < cost["max_rss_mb"] < 1000
    files = here.rows("SELECT sha256, bytes FROM artifacts")
    assert len(files) == 6
    assert {f["sha256"] for f in files} == {name[:64] for name in here.objects()}
    assert not list((here.home / "scratch").glob("w*"))


def test_no_stage_runs_in_the_worker_itself(here: Site) -> None:
    """Task processes stay for the next task of their stage, and the worker is their parent."""
    here.apply("a?gate=first", "b?gate=second")
    worker = here.worker(slots=1)

    (first,) = eventually(lambda: here.at_gate("first"))
    assert first in worker.children()
    here.open_gate("first")
    (second,) = eventually(lambda: here.at_gate("second"))
    here.open_gate("second")

    assert second == first != worker.pid


def test_work_is_claimed_up_to_the_free_slots(here: Site) -> None:
    """With two slots no third task is taken until one of the two has ended."""
    here.apply("a?gate=g1", "b?gate=g2", "c?gate=g3")
    here.worker(slots=2)

    eventually(lambda: here.at_gate("g1") and here.at_gate("g2"))
    states = {r["video_id"]: r["state"] for r in here.rows("SELECT * FROM tasks")}
    assert states == {"a": "running", "b": "running", "c": "ready"}
    here.open_gate("g1")
    eventually(lambda: here.at_gate("g3"))
    for gate in ("g2", "g3"):
        here.open_gate(gate)
    eventually(here.done("a", "b", "c"))


def test_progress_is_seen_and_checkpoints_are_kept(here: Site) -> None:
    """Heartbeats carry progress; a task that was put off finds its checkpoint, no attempt used."""
    here.apply("a?later=0.2&gate=g")
    here.worker()

    task = eventually(lambda: (t := here.task("a")) and t["progress"] == 0.5 and t)
    assert task["message"] == "at gate g"
    assert task["checkpoint"] == {"put_off": 1}
    assert (task["attempt"], task["error_class"]) == (0, "throttled")
    here.open_gate("g")
    eventually(here.done("a"))


def test_a_cancelled_task_is_told_to_stop(here: Site) -> None:
    """When the task's row is gone its run ends at the next tick and records nothing."""
    here.apply("a?gate=never", "b")
    worker = here.worker()
    (pid,) = eventually(lambda: here.at_gate("never"))

    with here.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM tasks WHERE video_id = 'a'")

    eventually(lambda: not alive(pid))
    eventually(here.done("b"))
    assert here.result("a") is None
    assert worker.said("lease_lost")


def test_a_skip_is_a_result_with_its_reason(here: Site) -> None:
    """A stage that finds nothing to do ends its video without a failure."""
    here.apply("a?skip=TooLong")

    here.worker("--until-idle").wait()

    result = here.result("a")
    assert result is not None
    assert (result["outcome"], result["reason"]) == ("skipped", "TooLong")


def test_a_worker_serves_only_its_stages(here: Site) -> None:
    """With --stages the others' tasks are left alone; an unknown stage is refused in one line."""
    here.apply("a", stages="extract")
    here.worker("--until-idle", "--stages", "discover,download").wait()

    assert {r["stage"] for r in here.rows("SELECT stage FROM tasks")} == {"extract"}
    wrong = here.worker("--stages", "download,uplaod")
    assert wrong.wait() == 2
    assert re.fullmatch(r"error: --stages download,uplaod: there are discover, .*\n", wrong.log())


def test_metrics_and_health_are_served(here: Site) -> None:
    """Both are on --metrics-port; they tell of what was really done."""
    here.apply("a", "b?permanent=not_a_video")
    worker = here.worker("--metrics-port", "0")
    port = eventually(lambda: worker.said("metrics"))[0]["port"]
    eventually(lambda: here.result("a") and (t := here.task("b")) and t["state"] == "failed")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
        assert answer.status == 200

    for line in (
        'dataminer_stage_outcomes_total{error_class="",outcome="done",stage="download"} 1.0',
        'dataminer_stage_outcomes_total{error_class="not_a_video",outcome="failed",stage="download"}',
        'dataminer_stage_counts_total{name="downloads",stage="download"} 1.0',
        'dataminer_queue_claims_total{stage="download"} 2.0',
    ):
        assert line in text


def test_one_task_in_the_foreground(here: Site) -> None:
    """With --task and --foreground a dead letter is run in the worker's own process."""
    here.apply("a?fail=1")
    here.worker("--until-idle", DATA_MINER_MAX_ATTEMPTS="1").wait()
    task = here.task("a")
    assert task is not None
    assert task["state"] == "failed"

    again = here.worker("--task", str(task["id"]), "--foreground")

    assert again.wait() == 0
    assert here.result("a") is not None
    missing = here.worker("--task", "999999", "--foreground")
    assert missing.wait() == 2
    assert missing.log().startswith("error: task 999999")


def test_a_worker_that_is_drained_finishes_and_ends(here: Site) -> None:
    """The drain mark on its row stops the claims; what runs is finished."""
    here.apply("a?gate=g", "b")
    worker = here.worker(slots=1)
    eventually(lambda: here.at_gate("g"))

    with here.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE workers SET drain = true")
    eventually(lambda: worker.said("draining"))
    here.open_gate("g")

    assert worker.wait() == 0
    assert here.result("a") is not None
    left = here.task("b")
    assert left is not None
    assert (left["state"], left["attempt"]) == ("ready", 0)
    row = here.rows("SELECT stopped_at FROM workers")[0]
    assert row["stopped_at"] is not None


def test_no_database_is_one_line(here: Site) -> None:
    """A worker that cannot reach its database at the start says so and ends with status 4."""
    refused = subprocess.run(
        [sys.executable, "-m", "data_miner_worker"],
        env=here.environment({"DATA_MINER_DATABASE_URL": "postgresql://127.0.0.1:1/none"}),
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert refused.returncode == 4
    assert re.fullmatch(r"error: cannot reach PostgreSQL .*\n", refused.stderr)


def test_a_notification_wakes_a_sleeping_worker(here: Site) -> None:
    """A worker that would sleep for minutes begins when another one announces work."""
    here.apply("a")
    here.worker(
        "--stages",
        "download",
        DATA_MINER_POLL_SECONDS="600",
        DATA_MINER_HEARTBEAT_SECONDS="600",
        DATA_MINER_LEASE_SECONDS="900",
    )
    eventually(lambda: here.rows("SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))

    here.worker("--until-idle", "--stages", "discover").wait()

    eventually(here.done("a"), within_seconds=10)
