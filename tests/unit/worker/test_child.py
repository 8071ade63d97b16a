"""How a run ends in its task process: always with a word that the worker can act on."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_miner.settings import Settings
from data_miner.stage import Assignment, Done, Later, Skip, StageError, StopRequested
from data_miner.storage.local import LocalStore
from data_miner_worker import signals
from data_miner_worker.child import run_task
from data_miner_worker.context import TaskContext
from data_miner_worker.messages import Failure, Run, Stopped


class Fake:
    """A stage that does one thing."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def run(self, _context: object) -> Any:
        """Do it."""
        return self.act()


def ran(folder: Path, act: Callable[[], Any]) -> Any:
    """What the worker is told of a stage that does this."""
    task = Assignment(1, 1, "download", "v", {}, 0, 3, 1, "p", "default")
    context = TaskContext(
        task,
        scratch=folder / "task",
        store=LocalStore(folder / "store"),
        settings=Settings(home=folder),
        send=lambda _message: None,
        stopped=threading.Event(),
    )
    return run_task(Run(task, folder / "task"), context, lambda _name: Fake(act))


def raising(error: BaseException) -> Callable[[], Any]:
    """Something that raises."""

    def act() -> Any:
        raise error

    return act


@pytest.mark.parametrize("outcome", [Done(), Skip("TooLong: 9 s"), Later(3, "throttled")])
def test_an_outcome_is_passed_on(tmp_path: Path, outcome: object) -> None:
    """Done, Skip and Later are what stages say."""
    assert ran(tmp_path, lambda: outcome) == outcome


@pytest.mark.parametrize(
    ("error", "error_class", "permanent"),
    [
        (StageError("not_a_video", "x", permanent=True), "not_a_video", True),
        (StageError("timeout", "x"), "timeout", False),
        (MemoryError(), "out_of_memory", False),
        (OSError(errno.ENOSPC, "No space left on device", "/s/f"), "disk_full", False),
        (OSError(errno.EACCES, "Permission denied"), "unexpected", False),
        (KeyError("frames"), "unexpected", False),
    ],
)
def test_a_failure_has_a_class(
    tmp_path: Path, error: Exception, error_class: str, *, permanent: bool
) -> None:
    """Named by the stage, by the system, or unexpected."""
    failure = ran(tmp_path, raising(error))

    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.permanent) == (error_class, permanent)


def test_a_failure_is_one_line_without_secrets(tmp_path: Path) -> None:
    """Whatever the exception says ends up short, on one line and redacted."""
    text = "cannot open\n https://user:hunter2@host/x?token=abc " + "y" * 2000

    failure = ran(tmp_path, raising(ValueError(text)))

    assert failure.message.startswith("ValueError: cannot open https://user:***@host/x?token=***")
    assert "\n" not in failure.message
    assert len(failure.message) < 600


def test_a_reason_is_one_line_without_secrets(tmp_path: Path) -> None:
    """What a site says when it wants nobody now holds neither its address's token nor escapes."""
    put_off = ran(
        tmp_path / "1", lambda: Later(3, "throttled: https://h/x?token=abc: 429\x1b[2J\n")
    )
    left_out = ran(tmp_path / "2", lambda: Skip("Live: https://h/x?token=abc"))

    assert put_off == Later(3, "throttled: https://h/x?token=*** 429�[2J ")
    assert left_out == Skip("Live: https://h/x?token=***")


def test_what_a_site_or_a_file_name_says_can_be_kept(tmp_path: Path) -> None:
    """Titles lose what a database refuses or a terminal obeys; addresses stay what they are."""
    address = "https://h/x?token=abc"
    video = {
        "url": address,
        "title": "a\x00\x1b[31m\udcff",
        "metadata": {"tags": ["\u202eb"]},
        "skip_reason": f"NotAnAddress: {address}",
    }

    done = ran(tmp_path, lambda: Done(records={"videos": [video]}))

    assert done.records["videos"] == [
        {
            "url": address,
            "title": "a��[31m�",
            "metadata": {"tags": ["�b"]},
            "skip_reason": "NotAnAddress: https://h/x?token=***",
        }
    ]


def test_being_stopped_is_no_failure(tmp_path: Path) -> None:
    """StopRequested ends the run quietly."""
    assert isinstance(ran(tmp_path, raising(StopRequested())), Stopped)


@pytest.mark.parametrize(
    "outcome", [None, {"frames": 1}, Done(facts={"mean": float("nan")}), Done(facts={"at": Path()})]
)
def test_what_the_database_cannot_hold_is_the_stages_fault(tmp_path: Path, outcome: object) -> None:
    """Something else than an outcome, or facts that are not JSON, fail where they were made."""
    failure = ran(tmp_path, lambda: outcome)

    assert isinstance(failure, Failure)
    assert failure.error_class == "unexpected"


def test_test_signals_are_inert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable nothing happens; with it the place is noted, and held only by a FIFO."""
    monkeypatch.delenv(signals.FOLDER, raising=False)
    signals.at(signals.CLAIMED)
    monkeypatch.setenv(signals.FOLDER, str(tmp_path))
    (tmp_path / signals.CLAIMED).touch()

    signals.at(signals.CLAIMED)

    assert (tmp_path / "claimed.reached").read_text().strip().isdigit()
