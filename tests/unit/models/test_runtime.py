"""Sessions start only where a file keeps the promises of its card."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner_models import cuda, runtime
from data_miner_models.cards import Graph, ModelCard, ModelFile, Tensor, load_card
from data_miner_models.errors import ModelError
from data_miner_models.image_encoder import ImageEncoder, plan_batches
from data_miner_models.providers import Provider
from data_miner_models.runtime import open_session
from data_miner_models.store import describe


def test_nobody_is_told_of_a_run(tmp_path: Path) -> None:
    """ONNX Runtime neither phones home nor leaves anything in the home folder."""
    code = """if True:
        from data_miner_models.cards import load_card
        from data_miner_models.runtime import open_session
        open_session(load_card("tiny-siglip", []), "image", provider="cpu")
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ORT_")}
    subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(tmp_path), "XDG_CACHE_HOME": ""},
        check=True,
    )
    assert list(tmp_path.rglob("*")) == []


def with_output(card: ModelCard, tensor: Tensor) -> ModelCard:
    graph = card.graphs["image"]
    return replace(card, graphs={"image": Graph(graph.inputs, {"embeds": tensor})})


def with_input(card: ModelCard, tensor: Tensor) -> ModelCard:
    graph = card.graphs["image"]
    return replace(card, graphs={"image": Graph({"frames": tensor}, graph.outputs)})


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        (Tensor("frames", "uint8", ("batch", 8, 6, 3)), r"shape \(batch, 4, 6, 3\), its card says"),
        (Tensor("frames", "uint8", ("batch", 4, 6)), r"shape \(batch, 4, 6, 3\), its card says"),
        (Tensor("frames", "uint8", (1, 4, 6, 3)), r"its card says \(1, 4, 6, 3\)"),
        (Tensor("frames", "uint8", ("batch", "height", 6, 3)), r"its card says \(batch, height"),
        (Tensor("frames", "float32", ("batch", 4, 6, 3)), r"type tensor\(uint8\), its card says"),
        (Tensor("pixels", "uint8", ("batch", 4, 6, 3)), "pixels is not in the file; it has frames"),
    ],
)
def test_a_file_with_another_input_is_refused(
    small_store: Path, tensor: Tensor, complaint: str
) -> None:
    """Name, type and shape of the input must be those of the card."""
    card = with_input(load_card("small", [small_store]), tensor)
    with pytest.raises(ModelError, match=complaint):
        open_session(card, "image", provider="cpu")


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        (Tensor("vectors", "float32", ("batch", 6)), r"shape \(batch, 5\), its card says"),
        (Tensor("vectors", "int64", ("batch", 5)), r"type tensor\(float\), its card says int64"),
        (Tensor("embeds", "float32", ("batch", 5)), "embeds is not in the file; it has vectors"),
    ],
)
def test_a_file_with_another_output_is_refused(
    small_store: Path, tensor: Tensor, complaint: str
) -> None:
    """Name, type and shape of the output must be those of the card."""
    card = with_output(load_card("small", [small_store]), tensor)
    with pytest.raises(ModelError, match=complaint):
        open_session(card, "image", provider="cpu")


def test_a_file_that_is_no_model_is_refused(small_store: Path) -> None:
    """The right hash of the wrong content still ends in one line that names the file."""
    content = b"this is no model\n" * 40
    (small_store / "small.onnx").write_bytes(content)
    card = load_card("small", [small_store])
    file = ModelFile("small.onnx", hashlib.sha256(content).hexdigest(), len(content))
    with pytest.raises(ModelError, match=r"small\.onnx: ") as caught:
        open_session(replace(card, files={"image": file}), "image", provider="cpu")
    assert "\n" not in str(caught.value)


def test_a_gpu_that_is_not_there_is_refused(
    small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for a GPU never gets a CPU without knowing."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="a GPU was asked for"):
        open_session(load_card("small", [small_store]), "image", provider="cuda")


@pytest.fixture
def with_half(small_store: Path) -> ModelCard:
    """A model with a graph in half precision beside it, which here is the same again."""
    card = load_card("small", [small_store])
    (small_store / "half.onnx").write_bytes(card.path("image").read_bytes())
    half = replace(card.files["image"], path="half.onnx")
    return replace(card, files={**card.files, "image-fp16": half})


def test_where_a_gpu_does_not_start_the_single_graph_runs(
    with_half: ModelCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """CUDA is in this ONNX Runtime, and there is no GPU: automatic is a CPU, and says so."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with caplog.at_level("INFO"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = open_session(with_half, "image")
    assert session.device == "cpu"
    assert "small: image runs on cpu" in caplog.text
    assert "half" not in caplog.text


def test_what_a_gpu_cannot_load_runs_on_a_cpu_and_says_why(
    with_half: ModelCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Automatic goes on where the GPU's provider itself fails; who insists on it gets the error."""
    content = b"no graph" * 9
    with_half.path("image-fp16").write_bytes(content)
    bad = replace(
        with_half.files["image-fp16"],
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )
    card = replace(with_half, files={**with_half.files, "image-fp16": bad})
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with caplog.at_level("INFO"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert open_session(card, "image").device == "cpu"
        with pytest.raises(ModelError, match=r"half\.onnx: "):
            open_session(card, "image", provider="cuda")
    assert "going on without cuda" in caplog.text
    assert "half.onnx" in caplog.text


@pytest.mark.parametrize(
    ("provider", "name", "library"),
    [
        ("cuda", "CUDAExecutionProvider", "libonnxruntime_providers_cuda.so"),
        ("openvino", "OpenVINOExecutionProvider", "libonnxruntime_providers_openvino.so"),
        ("tensorrt", "TensorrtExecutionProvider", "libnvinfer.so.10"),
    ],
)
def test_a_provider_that_does_not_start_is_named_with_the_library_that_is_missing(
    provider: Provider,
    name: str,
    library: str,
    small_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """ONNX Runtime lists it, and goes on without it; nothing of that is on the standard output."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError, match=r"was asked for, but .* does not start here") as found:
            open_session(load_card("small", [small_store]), "image", provider=provider)
    assert f"{library}: " in str(found.value)
    assert "\n" not in str(found.value)
    assert capfd.readouterr().out == ""


def test_what_openvino_cannot_run_is_said_without_its_sources(
    small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the whole graph and then refuses it, in many lines."""
    refusal = (
        "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime/basic"
        "_backend.cc:136 FrontEnd API failed with GeneralFailure:\n"
        "OpenVINO does not support the following ONNX operations: Attention\n\n\n"
    )

    def refuse(*_: object) -> None:
        raise RuntimeError(refusal)

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["OpenVINOExecutionProvider"])
    monkeypatch.setattr(runtime, "_start", refuse)
    with pytest.raises(ModelError) as found:
        open_session(load_card("small", [small_store]), "image", provider="openvino")
    assert str(found.value).endswith(
        "small.onnx: OpenVINO has no operation Attention; use provider cpu"
    )


@pytest.fixture
def listed_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its libraries load and there is a GPU; this ONNX Runtime leaves it out all the same."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["TensorrtExecutionProvider"])
    monkeypatch.setattr(cuda, "tensorrt_version", lambda: "101300")
    monkeypatch.setattr(cuda, "first_gpu", lambda: cuda.Gpu("Some GPU", "9.0"))


@pytest.mark.usefixtures("listed_tensorrt")
def test_no_engines_are_kept_of_a_tensorrt_that_did_not_run(small_store: Path) -> None:
    """A folder that is there is one whose engines are complete."""
    card, engines = load_card("small", [small_store]), small_store / "engines"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError, match="TensorRT was asked for, but it does not start here"):
            open_session(card, "image", provider="tensorrt", engines=engines)
    (gpu,) = engines.iterdir()
    assert not [each for each in gpu.iterdir() if not each.name.startswith(".")]


@pytest.mark.usefixtures("listed_tensorrt")
def test_engines_that_cannot_be_kept_are_an_error_in_a_line(small_store: Path) -> None:
    """It names the folder."""
    (small_store / "engines").write_text("a file")
    card = load_card("small", [small_store])
    with pytest.raises(ModelError, match=r"cannot keep TensorRT's engines in .*/engines/Some-GPU"):
        open_session(card, "image", provider="tensorrt", engines=small_store / "engines")
    with pytest.raises(ModelError, match="TensorRT needs a folder for its engines"):
        open_session(card, "image", provider="tensorrt")


@pytest.mark.parametrize("damaged", ["image", "image-fp16"])
def test_no_graph_is_loaded_with_other_bytes_than_the_card_names(
    with_half: ModelCard, damaged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the one that a GPU would run, nor the one that is taken when it does not start."""
    path = with_half.path(damaged)
    path.write_bytes(path.read_bytes() + b"\x00")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError, match="bytes, its card says"):
            open_session(with_half, "image")


def test_inputs_that_a_graph_refuses_end_in_one_line(small_store: Path) -> None:
    """What ONNX Runtime says about a wrong input reaches the caller with the model's name."""
    session = open_session(load_card("small", [small_store]), "image", provider="cpu")
    with pytest.raises(ModelError, match=r"model small: .*frames") as caught:
        session.run(frames=np.ones((1, 9, 9, 3), np.uint8))
    assert "\n" not in str(caught.value)


def test_auto_says_where_it_runs(small_store: Path) -> None:
    """The choice is an attribute, and the same as the one that was asked for by name."""
    encoder = ImageEncoder(load_card("small", [small_store]), provider="cpu")
    assert encoder.choice.device == "cpu"
    automatic = ImageEncoder(load_card("small", [small_store]))
    expected = "cuda" if "CUDAExecutionProvider" in ort.get_available_providers() else "cpu"
    assert automatic.choice.device == expected


@pytest.mark.parametrize(
    "renders",
    [
        np.zeros((2, 6, 4, 3), np.uint8),
        np.zeros((4, 6, 3), np.uint8),
        np.zeros((2, 4, 6, 3), np.float32),
    ],
)
def test_renders_of_another_shape_are_refused(small_store: Path, renders: np.ndarray) -> None:
    """The message says what the model takes and what came."""
    encoder = ImageEncoder(load_card("small", [small_store]), provider="cpu")
    with pytest.raises(ModelError, match=r"takes uint8 renders \(N, 4, 6, 3\), not"):
        encoder(renders)


def test_vectors_that_are_not_unit_are_refused(small_store: Path) -> None:
    """A black render through a matrix without offset has no direction, and that is an error."""
    encoder = ImageEncoder(load_card("small", [small_store]), provider="cpu")
    with pytest.raises(ModelError, match="not of length 1"):
        encoder(np.zeros((1, 4, 6, 3), np.uint8))


def test_no_renders_give_no_vectors(small_store: Path) -> None:
    """An empty batch is a batch."""
    encoder = ImageEncoder(load_card("small", [small_store]), provider="cpu")
    assert encoder(np.empty((0, 4, 6, 3), np.uint8)).shape == (0, 5)


@given(
    st.integers(0, 500),
    st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_batches_cover_everything_once(count: int, buckets: list[int]) -> None:
    """Every row is in one batch, every batch fits its bucket, every bucket is a known size."""
    plan = list(plan_batches(count, buckets))
    rows = [row for start, stop, _ in plan for row in range(start, stop)]
    assert rows == list(range(count))
    for start, stop, bucket in plan:
        assert bucket in buckets
        assert 0 < stop - start <= bucket


@pytest.mark.parametrize("named", [False, True])
def test_weights_beside_a_graph_are_loaded_only_if_the_card_names_them(
    small_store: Path, named: bool
) -> None:
    """Nobody would notice that they are others."""
    card = load_card("small", [small_store])
    onnx.save(
        onnx.load(card.path("image")),
        small_store / "small.onnx",
        save_as_external_data=True,
        location="small.data",
        size_threshold=0,
    )
    names = {"image": "small.onnx", **({"weights": "small.data"} if named else {})}
    files = {role: ModelFile(name, *describe(small_store / name)) for role, name in names.items()}
    card = replace(card, files=files)
    if named:
        open_session(card, "image", provider="cpu")
        content = (small_store / "small.data").read_bytes()
        (small_store / "small.data").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(ModelError, match="has sha256" if named else "weights in small.data, which"):
        open_session(card, "image", provider="cpu")
