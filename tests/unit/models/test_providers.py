"""Where graphs run is a table: what was asked for, what is there, which model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data_miner_models.cards import Graph, ModelCard, ModelFile, Tensor, load_card
from data_miner_models.errors import ModelError
from data_miner_models.providers import PROVIDERS, Provider, choices, in_order, profile

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT, OPENVINO = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"
EVERYTHING = (TENSORRT, CUDA, OPENVINO, CPU)
SINGLE = load_card("tiny-siglip")


def with_half(card: ModelCard) -> ModelCard:
    files = {f"{role}-fp16": replace(card.files[role]) for role in card.graphs}
    return replace(card, files={**card.files, **files})


def grounded() -> ModelCard:
    frames = Tensor("frames", "uint8", (1, 90, 160, 3))
    ids = Tensor("ids", "int64", (1, "tokens"))
    file = ModelFile("image.onnx", "0" * 64, 1)
    return replace(
        SINGLE,
        family="grounded",
        folder=Path("/none"),
        files={"image-90x160": file, "tokenizer": file},
        graphs={"image-90x160": Graph({"frames": frames, "ids": ids}, {})},
        scoring=None,
    )


@pytest.mark.parametrize(
    ("asked", "present", "tried"),
    [
        ("auto", (CPU,), ["cpu"]),
        ("auto", (CUDA, CPU), ["cuda", "cpu"]),
        ("auto", EVERYTHING, ["cuda", "cpu"]),
        ("auto", (OPENVINO, CPU), ["cpu"]),
        ("cpu", EVERYTHING, ["cpu"]),
        ("cuda", EVERYTHING, ["cuda"]),
        ("tensorrt", EVERYTHING, ["tensorrt"]),
        ("openvino", (OPENVINO, CPU), ["openvino"]),
    ],
)
def test_what_is_asked_for_is_all_that_is_tried(
    asked: Provider, present: tuple[str, ...], tried: list[str]
) -> None:
    """Automatic is a GPU before a CPU, and never what must be asked for by name."""
    assert [choice.name for choice in choices(asked, present, SINGLE, "image")] == tried


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("cuda", "a GPU was asked for, but this ONNX Runtime has no CUDA; install data-miner"),
        ("tensorrt", "TensorRT was asked for, but this ONNX Runtime has no TensorRT; install"),
        ("openvino", "has no OpenVINO; install onnxruntime-openvino in the place of onnxruntime"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_to_do(asked: Provider, words: str) -> None:
    """In a line, with another provider that would do."""
    with pytest.raises(ModelError, match=words) as caught:
        choices(asked, (CPU,), SINGLE, "image")
    assert "or use provider c" in str(caught.value)


def test_why_it_did_not_start_is_part_of_the_line() -> None:
    """And left out where nobody knows."""
    (cuda,) = choices("cuda", EVERYTHING, SINGLE, "image")
    (tensorrt,) = choices("tensorrt", EVERYTHING, SINGLE, "image")
    assert str(cuda.gone()) == (
        "a GPU was asked for, but CUDA does not start here; use provider cpu"
    )
    assert str(tensorrt.gone("libx.so: no")) == (
        "TensorRT was asked for, but it does not start here (libx.so: no); use provider cuda"
    )


@pytest.mark.parametrize(
    ("asked", "has_half", "file", "precision", "device"),
    [
        ("cpu", True, "image", "single", "cpu"),
        ("openvino", True, "image", "single", "cpu"),
        ("cuda", False, "image", "single", "cuda"),
        ("cuda", True, "image-fp16", "half", "cuda"),
        ("tensorrt", True, "image-fp16", "half", "cuda"),
        # TensorFloat-32 has as many digits as half precision.
        ("tensorrt", False, "image", "half", "cuda"),
    ],
)
def test_a_gpu_runs_half_precision_where_the_model_has_it(
    asked: Provider, has_half: bool, file: str, precision: str, device: str
) -> None:
    """A CPU never does: it would compute in single precision with numbers of its own."""
    card = with_half(SINGLE) if has_half else SINGLE
    (choice,) = choices(asked, EVERYTHING, card, "image")
    assert (choice.file, choice.precision, choice.device) == (file, precision, device)
    assert choice.words == (f"{asked} in half precision" if file.endswith("fp16") else asked)


@pytest.mark.parametrize(
    ("name", "role", "asked", "max_batch", "buckets"),
    [
        ("tiny-siglip", "image", "cpu", None, (1, 8, 32)),
        ("tiny-siglip", "image", "openvino", None, (1, 8, 32)),
        ("tiny-siglip", "image", "cuda", None, (32,)),
        ("tiny-dino", "image", "cpu", 1, (1,)),
        ("tiny-dino", "image", "cpu", 9, (1, 8)),
        ("tiny-dino", "image", "cuda", 9, (9,)),
        ("tiny-siglip", "text", "cuda", None, (1,)),
        ("tiny-detector", "image", "cuda", None, (1,)),
    ],
)
def test_a_graph_runs_in_a_few_sizes(
    name: str, role: str, asked: Provider, max_batch: int | None, buckets: tuple[int, ...]
) -> None:
    """On a GPU in one; prompts and the pictures of detectors one by one; never more than a model
    may run at once."""
    card = replace(load_card(name), max_batch=max_batch)
    (choice,) = choices(asked, EVERYTHING, card, role)
    assert choice.buckets == buckets


def test_a_gpu_rounds_no_more_coarsely_than_it_must() -> None:
    """Also where it stands in for TensorRT; whatever cannot run there runs on the CPU."""
    exact = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}
    (cuda,) = choices("cuda", EVERYTHING, SINGLE, "image")
    assert in_order(cuda, threads=2) == [(CUDA, exact), (CPU, {})]
    (tensorrt,) = choices("tensorrt", EVERYTHING, SINGLE, "image")
    own = {"trt_engine_cache_enable": "1"}
    assert in_order(tensorrt, threads=2, more=own) == [(TENSORRT, own), (CUDA, exact), (CPU, {})]
    assert in_order(tensorrt, threads=2)[0] == (TENSORRT, {})


def test_openvino_computes_in_single_precision_with_as_many_threads_as_asked() -> None:
    """Where a CPU has bfloat16 it would take that."""
    (choice,) = choices("openvino", EVERYTHING, SINGLE, "image")
    assert in_order(choice, threads=3) == [
        (OPENVINO, {"device_type": "CPU", "precision": "FP32", "num_of_threads": "3"}),
        (CPU, {}),
    ]


def test_tensorrt_gets_the_shapes_of_the_bucket() -> None:
    """Free axes are filled in, fixed ones stay."""
    (images,) = choices("tensorrt", EVERYTHING, SINGLE, "image")
    assert profile(images, SINGLE.graphs["image"]) == "frames:32x72x128x3"
    (texts,) = choices("tensorrt", EVERYTHING, SINGLE, "text")
    assert profile(texts, SINGLE.graphs["text"]) == "input_ids:1x16"


def test_tensorrt_is_refused_for_captions_of_any_length() -> None:
    """Each length would be an engine of its own, built in the middle of a task."""
    card = grounded()
    with pytest.raises(ModelError, match=r"takes inputs of many lengths.* use provider cuda"):
        choices("tensorrt", EVERYTHING, card, "image-90x160")
    (choice,) = choices("cuda", EVERYTHING, card, "image-90x160")
    assert choice.buckets == (1,)


def test_every_provider_is_in_the_table() -> None:
    """Whatever may be asked for is decided here."""
    for asked in PROVIDERS:
        assert choices(asked, EVERYTHING, SINGLE, "image")
