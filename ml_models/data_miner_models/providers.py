"""Where a graph may run, as a table: from what was asked for and what is there to what is tried.

``auto`` is CUDA or the CPU. TensorRT is asked for by name, since it takes minutes to build its
engines, and so is OpenVINO: both round as no other provider does, and the workers of a pool should
agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from data_miner_models.cards import HALF, Graph, ModelCard
from data_miner_models.errors import GoneError, ModelError

Named = Literal["cpu", "cuda", "tensorrt", "openvino"]
Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
"""What may be asked for."""
Device = Literal["cpu", "cuda"]
"""What computes: TensorRT runs on CUDA's device, OpenVINO on the CPU."""
Precision = Literal["single", "half"]


@dataclass(frozen=True)
class Choice:
    """How one graph is run.

    Attributes:
        name: of the provider.
        file: role of the file that is loaded; that of the graph, or of its counterpart in half
            precision.
        precision: how the numbers are rounded, at the worst.
        buckets: how many inputs run at once; what is fewer is filled up. They ascend.
    """

    name: Named
    file: str
    precision: Precision
    buckets: tuple[int, ...]

    @property
    def device(self) -> Device:
        """What computes."""
        return _TABLE[self.name].device

    @property
    def in_onnx_runtime(self) -> str:
        """ONNX Runtime's name of the provider."""
        return _TABLE[self.name].in_onnx_runtime

    @property
    def words(self) -> str:
        """For a log: ``cuda in half precision``."""
        return f"{self.name} in half precision" if self.file.endswith(HALF) else self.name

    def gone(self, why: str = "") -> GoneError:
        """What to say where ONNX Runtime has the provider, and it does not start."""
        row = _TABLE[self.name]
        because = f" ({why})" if why else ""
        what = "it" if row.asked.startswith(row.title) else row.title
        return GoneError(
            f"{row.asked}, but {what} does not start here{because}; use provider {row.instead}"
        )


def choices(
    asked: Provider, present: Collection[str], card: ModelCard, role: str
) -> tuple[Choice, ...]:
    """What to try, the best first; only ``auto`` leaves more than one.

    Args:
        present: providers that this ONNX Runtime has, by its own names. Whether one starts shows
            when it is tried.

    Raises:
        ModelError: this ONNX Runtime has no such provider, or the provider cannot run this graph.
    """
    if asked == "auto":
        gpu = (_choice("cuda", card, role),) if _TABLE["cuda"].in_onnx_runtime in present else ()
        return (*gpu, _choice("cpu", card, role))
    row = _TABLE[asked]
    if row.in_onnx_runtime not in present:
        raise ModelError(
            f"{row.asked}, but this ONNX Runtime has no {row.title}; "
            f"install {row.install} or use provider {row.instead}"
        )
    if asked == "tensorrt" and not _fixed(card.graphs[role]):
        raise ModelError(
            f"model {card.name}: {role} takes inputs of many lengths, and TensorRT would build an "
            f"engine for each; use provider {row.instead}"
        )
    return (_choice(asked, card, role),)


def in_order(
    choice: Choice, *, threads: int, more: Mapping[str, str] | None = None
) -> list[tuple[str, dict[str, str]]]:
    """ONNX Runtime's names and options of the provider and of those that run what it cannot.

    Args:
        more: further options of the provider itself.
    """
    names: tuple[Named, ...] = (choice.name, "cuda", "cpu")
    if choice.device == "cpu":
        names = (choice.name, "cpu")
    rows = {_TABLE[name].in_onnx_runtime: dict(_TABLE[name].options) for name in names}
    own = rows[choice.in_onnx_runtime]
    if choice.name == "openvino":
        own["num_of_threads"] = str(threads)
    own |= more or {}
    return list(rows.items())


def profile(choice: Choice, graph: Graph) -> str:
    """The shapes of all inputs at the bucket, as TensorRT wants to read them."""
    (bucket,) = choice.buckets
    return ",".join(
        f"{tensor.name}:" + "x".join(str(n) for n in (_first(tensor.shape[0], bucket), *rest))
        for tensor in graph.inputs.values()
        for rest in [tensor.shape[1:]]
    )


@dataclass(frozen=True)
class _Row:
    in_onnx_runtime: str
    title: str
    device: Device
    half: bool
    """Whether it runs graphs in half precision where the model has them."""
    coarse: bool
    """Whether it rounds as half precision does, in graphs of single precision too."""
    buckets: tuple[int, ...]
    asked: str = ""
    install: str = ""
    instead: str = "cpu"
    options: tuple[tuple[str, str], ...] = ()


_GPU_BUCKETS: Final = (32,)
"""One size only: on a GPU another batch size may choose another kernel."""
_TABLE: Final[Mapping[Named, _Row]] = {
    "cpu": _Row("CPUExecutionProvider", "CPU", "cpu", False, False, (1, 8, 32)),
    "cuda": _Row(
        "CUDAExecutionProvider",
        "CUDA",
        "cuda",
        True,
        False,
        _GPU_BUCKETS,
        asked="a GPU was asked for",
        install="data-miner[worker-gpu]",
        # TensorFloat-32 and the search for the fastest algorithm round more coarsely, and
        # differently from one start to the next.
        options=(("cudnn_conv_algo_search", "DEFAULT"), ("use_tf32", "0")),
    ),
    "tensorrt": _Row(
        "TensorrtExecutionProvider",
        "TensorRT",
        "cuda",
        True,
        # It multiplies single precision as TensorFloat-32, and no option turns that off.
        True,
        _GPU_BUCKETS,
        asked="TensorRT was asked for",
        install="data-miner[worker-gpu] and TensorRT 10",
        instead="cuda",
    ),
    "openvino": _Row(
        "OpenVINOExecutionProvider",
        "OpenVINO",
        "cpu",
        False,
        False,
        (1, 8, 32),
        asked="OpenVINO was asked for",
        install="onnxruntime-openvino in the place of onnxruntime",
        # It may take bfloat16 otherwise, where the CPU has it.
        options=(("device_type", "CPU"), ("precision", "FP32")),
    ),
}
PROVIDERS: Final = get_args(Provider)


def _choice(name: Named, card: ModelCard, role: str) -> Choice:
    row = _TABLE[name]
    half = row.half and role + HALF in card.files
    precision: Precision = "half" if half or row.coarse else "single"
    return Choice(name, role + HALF if half else role, precision, _buckets(row, card, role))


def _buckets(row: _Row, card: ModelCard, role: str) -> tuple[int, ...]:
    if role != "image" or card.family not in {"siglip", "dino"}:
        # Prompts, and pictures that are looked at one by one.
        return (1,)
    most = card.max_batch or row.buckets[-1]
    return tuple(size for size in row.buckets if size <= most) or (most,)


def _fixed(graph: Graph) -> bool:
    return all(isinstance(n, int) for each in graph.inputs.values() for n in each.shape[1:])


def _first(size: int | str, bucket: int) -> int:
    return size if isinstance(size, int) else bucket
