"""What a stage may touch, and what it is told."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from data_miner.settings import Settings
from data_miner.stage import Artifact, Assignment, Context, StageError, StopRequested
from data_miner.storage.local import LocalStore
from data_miner_worker.context import TaskContext, credential_files
from data_miner_worker.messages import Checkpoint, Tick


def assignment(**params: Any) -> Assignment:
    """A task of no particular project."""
    return Assignment(
        task_id=1,
        claim_seq=1,
        stage="download",
        subject="v",
        params=params,
        attempt=0,
        max_attempts=3,
        project_id=1,
        project_name="p",
        namespace="default",
    )


class Stand:
    """A context with its ends in the test's hands."""

    def __init__(self, folder: Path, **params: Any) -> None:
        self.sent: list[Tick | Checkpoint] = []
        self.stopped = threading.Event()
        self.context = TaskContext(
            assignment(**params),
            scratch=folder / "scratch" / "task",
            store=LocalStore(folder / "store", scratch=folder / "scratch"),
            settings=Settings(home=folder),
            send=self.sent.append,
            stopped=self.stopped,
        )


def test_it_is_what_stages_expect(tmp_path: Path) -> None:
    """The worker's context has all that the protocol promises."""
    context: Context = Stand(tmp_path).context

    assert context.scratch.is_dir()
    assert context.credential == {}
    assert context.model_stores.folders == (tmp_path / "models",)


def test_ticks_are_told_now_and_then(tmp_path: Path) -> None:
    """A thousand ticks in a row cost a few messages; progress stays within 0 and 1."""
    stand = Stand(tmp_path)

    for _ in range(1000):
        stand.context.tick(1.7, "frames")

    assert 1 <= len(stand.sent) < 20
    assert stand.sent[0] == Tick(1.0, "frames")


def test_a_stop_ends_the_run_at_the_next_tick(tmp_path: Path) -> None:
    """Ticking, fetching and publishing end it; saying from a thread that bytes move does not."""
    stand = Stand(tmp_path)
    path = stand.context.scratch / "a.bin"
    path.write_bytes(b"1")
    made = stand.context.publish(path, "source")
    stand.stopped.set()

    stand.context.alive()
    with pytest.raises(StopRequested):
        stand.context.tick()
    with pytest.raises(StopRequested):
        stand.context.fetch(made)
    with pytest.raises(StopRequested):
        stand.context.publish(path, "source")


def test_a_lost_input_is_remembered(tmp_path: Path) -> None:
    """The stage sees a named failure, and the worker which file it was."""
    stand = Stand(tmp_path)
    lost = Artifact("source", "file:///x/a.mp4", 5, "a" * 64)

    with pytest.raises(StageError) as error:
        stand.context.fetch(lost)

    assert error.value.error_class == "input_missing"
    assert stand.context.missing == [lost.sha256]


def test_only_declared_counters_count(tmp_path: Path) -> None:
    """A misspelt counter is an error at once, not a series that nobody looks at."""
    stand = Stand(tmp_path)

    stand.context.count("downloads")
    stand.context.count("downloads", 2)
    with pytest.raises(ValueError, match="downlaods"):
        stand.context.count("downlaods")

    assert stand.context.counters == {"downloads": 3}


def test_credentials_are_files_of_a_named_folder(tmp_path: Path) -> None:
    """What a secret's mount hides is left out."""
    folder = tmp_path / "credentials" / "site"
    (folder / "..data").mkdir(parents=True)
    (folder / "cookies.txt").write_text("x")
    (folder / ".hidden").write_text("y")

    context = Stand(tmp_path, credential="site").context

    assert context.credential == {"cookies.txt": folder / "cookies.txt"}


@pytest.mark.parametrize("name", ["absent", "..", "../credentials/site", "/etc", "."])
def test_a_credential_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    """A name never leads out of the folder of credentials; the failure is final."""
    (tmp_path / "site").mkdir()

    with pytest.raises(StageError) as error:
        credential_files(tmp_path / "site", name)

    assert (error.value.error_class, error.value.permanent) == ("credential_missing", True)
