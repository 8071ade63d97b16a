"""How fast models run, beside what the machine can do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from data_miner_models import bench
from data_miner_models.cards import ModelCard, load_card
from data_miner_models.command import app
from data_miner_models.runtime import Session, open_session


def test_a_speed_is_held_against_the_peak_of_the_same_run() -> None:
    """share = pictures a second x operations of one / operations a second."""
    card = replace(load_card("tiny-siglip"), flops={"image": 1e6})
    peak, (speed,) = bench.measure(card, provider="cpu", seconds=0.02)
    assert peak > 1e8
    assert (speed.role, speed.provider, speed.precision, speed.batch) == (
        "image",
        "cpu",
        "single",
        8,
    )
    assert speed.per_second > 0
    assert speed.share is not None
    # The median of the peaks is that of the run.
    assert speed.share == pytest.approx(speed.per_second * 1e6 / peak)


def test_a_model_runs_with_as_many_at_once_as_it_may() -> None:
    """In 8 bits one; detectors one as well; without operations on its card there is no share."""
    alone = replace(load_card("tiny-dino"), max_batch=1)
    _, (speed,) = bench.measure(alone, provider="cpu", seconds=0.02)
    assert (speed.batch, speed.share) == (1, None)
    _, (speed,) = bench.measure(load_card("tiny-detector"), provider="cpu", seconds=0.02)
    assert speed.batch == 1


def test_the_peak_is_that_of_a_product_of_matrices() -> None:
    """The file that is shipped holds one node and nothing else."""
    model = onnx.load(Path(bench.__file__).parent / "matmul.onnx")
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    assert not model.graph.initializer


def test_the_command_prints_lines_or_json() -> None:
    """An unknown model and an unknown provider are said in a line."""
    runner = CliRunner()
    lines = runner.invoke(app, ["bench", "tiny-dino", "tiny-siglip", "--seconds", "0.02"])
    assert lines.exit_code == 0
    assert [line.split(" on ")[0] for line in lines.output.splitlines()] == [
        "tiny-dino image",
        "tiny-siglip image",
    ]
    told = runner.invoke(app, ["bench", "tiny-dino", "--seconds", "0.02", "--json"])
    (row,) = json.loads(told.output)
    assert row["name"] == "tiny-dino"
    assert row["per_second"] > 0
    assert (row["provider"], row["device"]) == ("cpu", "cpu")
    assert " on cpu (single precision), 8 at once: " in lines.output.splitlines()[0]
    assert runner.invoke(app, ["bench", "none"]).exit_code == 6
    assert runner.invoke(app, ["bench", "tiny-dino", "--provider", "tpu"]).exit_code == 2


def test_a_provider_is_checked_by_name() -> None:
    """Where it ran is said beside what was compared; what is not there ends as a wrong model."""
    runner = CliRunner()
    lines = runner.invoke(app, ["verify", "tiny-dino", "--provider", "auto"])
    assert lines.exit_code == 0
    assert "tiny-dino: 1 file as the card says; on cpu, 3 image vectors within" in lines.output
    missing = runner.invoke(app, ["verify", "tiny-dino", "--provider", "openvino"])
    assert missing.exit_code == 6
    assert "OpenVINO was asked for" in missing.output
    wrong = runner.invoke(app, ["verify", "tiny-dino", "--provider", "tpu"])
    assert wrong.exit_code == 2
    assert "expected auto, cpu, cuda, tensorrt, openvino" in wrong.output


def test_tensorrt_has_the_engine_of_each_graph_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of those that are not measured: the first task would build them."""
    opened = []

    def on_a_cpu(card: ModelCard, role: str, **_: object) -> Session:
        opened.append(role)
        return open_session(card, role, provider="cpu")

    monkeypatch.setattr(bench, "open_session", on_a_cpu)
    _, speeds = bench.measure(load_card("tiny-siglip"), provider="tensorrt", seconds=0.02)
    assert sorted(opened) == ["image", "text"]
    assert [speed.role for speed in speeds] == ["image"]
