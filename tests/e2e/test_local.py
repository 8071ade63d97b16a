"""Local mode from the terminal: interrupted, doubled, watched from a second one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.product import STARS, Product, write_project
from support.waiting import eventually

STOP_SECONDS = 5.0


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's file."""
    return write_project(tmp_path, STARS)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """The program on a home with an embedded database."""
    return Product(tmp_path / "home")


@contextlib.contextmanager
def running(product: Product, project: Path) -> Iterator[subprocess.Popen[str]]:
    """A run whose workers have begun; ended, with its database, if it still goes on at the end."""
    process = product.start("run", project, "--json", "--workers", "2")
    try:
        # The database is there once the run has written its project.
        eventually(lambda: (product.home / "logs").is_dir() or process.poll() is not None)
        yield process
    finally:
        if process.poll() is None:
            # A killed one would leave its PostgreSQL behind, for the next run to find.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
        if process.poll() is None:
            process.kill()
        process.communicate()


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Everything that a run has started."""
    return psutil.Process(process.pid).children(recursive=True)


def test_ctrl_c_stops_within_seconds_and_the_next_run_continues(
    product: Product, project: Path
) -> None:
    """SIGINT ends the run, its workers and its database; the next run completes the project."""
    with running(product, project) as process:
        product.wait_for("SELECT 1 FROM results WHERE stage = 'download'")
        started = descendants(process)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        took = time.monotonic() - asked

    assert process.returncode == 130
    assert took <= STOP_SECONDS
    assert "nothing is lost" in err
    assert "Traceback" not in err
    assert not [child for child in started if child.is_running()]
    assert product.rows("SELECT 1 FROM tasks WHERE attempt > 0 OR lost_count > 0") == []
    assert product.mine(project)["phase"]["name"] == "Complete"

    # Moved by somebody who should not have: the next run, which has nothing to do, mends it.
    link = product.home / "datasets/default/local/dataset"
    whole = link.readlink()
    link.unlink()
    link.symlink_to("versions/elsewhere")
    assert product.mine(project)["worked"] is False
    assert link.readlink() == whole


def test_a_second_run_on_one_home_refuses_in_one_line(product: Product, project: Path) -> None:
    """While a run holds the home, another one says who holds it and ends with code 7."""
    with running(product, project) as process:
        second = product.do("run", project)
        told = product.do("status", "local")

    assert second.code == 7
    assert len(second.err.strip().splitlines()) == 1
    assert str(process.pid) in second.err
    assert told.code == 0
    assert "local" in told.out


def test_a_killed_run_takes_its_workers_with_it(product: Product, project: Path) -> None:
    """`kill -9` of the run ends its workers; the next run finds the home free and completes."""
    with running(product, project) as process:
        product.wait_for("SELECT 1 FROM results WHERE stage = 'discover'")
        workers = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs([w for w in workers if "worker" in "".join(w.cmdline())], 60)

    assert not alive
    assert product.mine(project)["phase"]["name"] == "Complete"


def test_another_terminal_pauses_resumes_and_edits(product: Product, project: Path) -> None:
    """Commands of a second terminal act on the project that a run is mining."""
    applied = product.do("apply", project)
    again = product.do("apply", project)
    paused = product.do("pause", "local")
    asleep = product.do("run", project, "--json")
    planned = product.do("plan", project)

    assert "created" in applied.out
    assert "unchanged" in again.out
    assert "paused" in paused.out
    # The file does not say `suspend`, so running it means to go on.
    assert asleep.json["phase"]["name"] == "Complete"
    assert "reused" in planned.out
    assert product.do("retry", "local").code == 0
    assert product.do("delete", "local").code == 0
    assert product.do("status", "local").code == 2
