"""What is a machine's fault, or a moment's, is not held against a model."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import replace
from typing import Any

import onnxruntime as ort
import pytest

from data_miner.settings import Settings
from data_miner.stage import StageError
from data_miner_models import runtime
from data_miner_models.cards import load_card
from data_miner_models.errors import ModelError, PassingError
from data_miner_worker.loaded_models import MODELS, find_card, unusable
from support.project_bench import Bench, plain


@pytest.fixture(autouse=True)
def nothing_is_loaded() -> None:
    """What other tests have loaded would start nothing."""
    MODELS.forget()


def failure(bench: Bench) -> tuple[str, bool]:
    """Class of what a stage that runs a model fails with, and whether it is for good."""
    extract = bench.extract("v", [plain(230, 0, 0)], wave=1)
    with pytest.raises(StageError) as caught:
        bench.run("embed", "v", {"extract": [extract]})
    return caught.value.error_class, caught.value.permanent


@pytest.mark.filterwarnings("ignore")
def test_a_gpu_that_is_gone_puts_a_task_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without its driver would fail all tasks that another one could do."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    bench.settings = replace(bench.settings, provider="cuda")
    assert failure(bench) == ("provider_gone", False)


def test_what_onnx_runtime_fails_with_may_pass(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as memory of a GPU that others hold, while a model is loaded and when it runs."""

    def refuse(*_: object, **__: object) -> Any:
        raise RuntimeError("CUDA failure 2: out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(runtime, "_start", refuse)
        assert failure(bench) == ("model_failed", False)
    with monkeypatch.context() as patched:
        patched.setattr(runtime.Session, "_run", refuse)
        assert failure(bench) == ("model_failed", False)
    assert not MODELS._held, "a GPU that was lost is not found again by the same session"


@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.EIO, "storage"), (errno.EMFILE, "storage"), (errno.ENOSPC, "disk_full")],
)
def test_a_disk_that_fails_is_said_as_anywhere_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    """And the model, whose bytes nobody could read, is not said to be wrong."""

    def broken(*_: object) -> Any:
        raise OSError(number, "it breaks")

    monkeypatch.setattr(hashlib, "file_digest", broken)
    assert failure(bench) == (name, False)


def test_a_cache_that_cannot_be_used_is_storage(bench: Bench) -> None:
    """As that of another user."""
    digest = load_card("colour", [bench.models]).digest
    bench.settings = Settings(home=bench.folder / "elsewhere", models_uri=str(bench.models))
    (bench.settings.model_stores.cache / f"colour@{digest}" / ".use").mkdir(parents=True)
    assert failure(bench) == ("storage", False)


def test_a_wrong_model_is_wrong_at_every_try() -> None:
    """Whatever else may pass."""
    assert unusable(ModelError("no graph")).permanent
    assert not unusable(PassingError("no answer")).permanent


def test_detectors_that_never_fit_together_are_said_at_once(bench: Bench) -> None:
    """Each fits into the cache by itself; put off, the task would wait for itself."""
    text = (bench.models / "boxer.toml").read_text()
    (bench.models / "other.toml").write_text(text.replace('name = "boxer"', 'name = "other"'))
    card = load_card("boxer", [bench.models])
    size = sum(file.bytes for file in card.files.values()) + len(text)
    detectors = [
        {"model": name, "digest": card.digest, "min_score": None} for name in ("boxer", "other")
    ]
    bench.changes["detect"] = {"detectors": detectors}
    bench.settings = Settings(
        home=bench.folder / "elsewhere",
        models_uri=str(bench.models),
        models_cache_gb=1.5 * size / 1e9,
    )
    context = bench.context("detect", "v", {})
    held = find_card(context, "boxer", card.digest)

    with pytest.raises(StageError, match="models boxer, other have") as caught:
        find_card(context, "other", card.digest)

    assert (caught.value.error_class, caught.value.permanent) == ("model_unusable", True)
    del held
    bench.changes["detect"] = {"detectors": detectors[1:]}
    assert find_card(bench.context("detect", "v", {}), "other", card.digest).name == "other"
