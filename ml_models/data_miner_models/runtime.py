"""The only place where ONNX Runtime is set up: which device, how many threads, which guarantees."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# Or else it tells its maker of every run, and leaves an id of this machine in the home folder. It
# looks when it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from data_miner_models.cards import HALF, ModelCard, Tensor, verify
from data_miner_models.errors import ModelError
from data_miner_models.use import MODEL_USE

Provider = Literal["auto", "cpu", "cuda"]
Device = Literal["cpu", "cuda"]
_CUDA = "CUDAExecutionProvider"
_DTYPES = {"uint8": "tensor(uint8)", "int64": "tensor(int64)", "float32": "tensor(float)"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A loaded graph whose inputs and outputs are those that its card promises."""

    card: ModelCard
    role: str
    device: Device
    """Where it runs, after "auto" has chosen."""
    _session: Any

    def run(self, **inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Outputs by role for inputs by role. Raises ModelError where the graph refuses them."""
        graph = self.card.graphs[self.role]
        feeds = {graph.inputs[role].name: value for role, value in inputs.items()}
        names = [tensor.name for tensor in graph.outputs.values()]
        began = time.monotonic()
        try:
            values = self._session.run(names, feeds)
        except Exception as error:
            # ONNX Runtime has no public base class for what it raises.
            raise ModelError(f"{_title(self.card, self.role)}: {_one_line(error)}") from error
        count = len(next(iter(inputs.values()), ()))
        MODEL_USE.ran(self.device, count, time.monotonic() - began)
        return dict(zip(graph.outputs, values, strict=True))


def open_session(
    card: ModelCard, role: str, *, provider: Provider = "auto", threads: int = 1
) -> Session:
    """Load one graph of a model after checking its files against their hashes.

    Args:
        card: the model.
        role: which of its graphs, such as "image" or "text"; on a GPU its counterpart in half
            precision runs, where the model has one.
        provider: "auto" takes a GPU where there is one, "cuda" insists on it.
        threads: CPU threads inside one operator; results do not depend on it.

    Raises:
        ModelError: a file is missing or altered, is no ONNX graph, has other inputs or outputs
            than its card says, or a GPU was asked for and there is none.
    """
    began = time.monotonic()
    wanted = _choose_device(provider)
    file = role + HALF if wanted == "cuda" and role + HALF in card.files else role
    session = _load(card, file, wanted, threads)
    used: Device = "cuda" if _CUDA in session.get_providers() else "cpu"
    if provider == "cuda" and used != "cuda":
        raise ModelError("a GPU was asked for, but CUDA does not start here; use provider cpu")
    if used == "cpu" and file != role:
        # CUDA did not start. A CPU computes half precision in single, with numbers of its own.
        session = _load(card, role, "cpu", threads)
    _compare(card, role, "input", card.graphs[role].inputs, session.get_inputs())
    _compare(card, role, "output", card.graphs[role].outputs, session.get_outputs())
    MODEL_USE.loaded(used, time.monotonic() - began)
    half = " in half precision" if used == "cuda" and file != role else ""
    _log.info("model %s: %s runs on %s%s", card.name, role, used, half)
    return Session(card, role, used, session)


def _load(card: ModelCard, file: str, device: Device, threads: int) -> Any:
    """A session of a file that has the hash on its card, and of no other."""
    verify(card, {file, "weights"} & set(card.files))
    try:
        return _start(card.path(file), device, threads)
    except Exception as error:
        # As above: a file that is no model raises one of many private classes.
        raise ModelError(f"{_title(card, file)}: {_one_line(error)}") from error


def _choose_device(provider: Provider) -> Device:
    present = _CUDA in ort.get_available_providers()
    if provider == "cuda" and not present:
        raise ModelError(
            "a GPU was asked for, but this ONNX Runtime has no CUDA; "
            "install data-miner[worker-gpu] or use provider cpu"
        )
    return "cuda" if present and provider != "cpu" else "cpu"


def open_file(path: Path, *, threads: int = 1) -> Any:
    """A session of ONNX Runtime on a CPU, for a file that has no card yet.

    Raises ModelError where it is no graph that can be loaded.
    """
    try:
        return _start(path, "cpu", threads)
    except Exception as error:
        # As above.
        raise ModelError(f"{path}: {_one_line(error)}") from error


def _start(path: Path, device: Device, threads: int) -> Any:
    """A session whose numbers depend on the input alone.

    Full optimisation and prepacking stay on: without them, kernels change with the batch size and
    the thread count. TensorFloat-32 and the search for the fastest algorithm stay off: they round
    more coarsely, and differently from one start to the next.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        exact = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}
        providers.insert(0, (_CUDA, exact))
    return ort.InferenceSession(str(path), options, providers=providers)


def _compare(
    card: ModelCard, role: str, kind: str, promised: Mapping[str, Tensor], actual: list[Any]
) -> None:
    by_name = {node.name: node for node in actual}
    for tensor in promised.values():
        where = f"{_title(card, role)}: {kind} {tensor.name}"
        node = by_name.get(tensor.name)
        if node is None:
            raise ModelError(f"{where} is not in the file; it has {', '.join(sorted(by_name))}")
        if node.type != _DTYPES[tensor.dtype]:
            raise ModelError(f"{where} has type {node.type}, its card says {tensor.dtype}")
        if not _same_shape(tensor.shape, node.shape):
            raise ModelError(
                f"{where} has shape {_spell(node.shape)}, its card says {_spell(tensor.shape)}"
            )


def _same_shape(promised: tuple[int | str, ...], actual: list[Any]) -> bool:
    """Fixed sizes must be equal; a free size must be free in the file as well."""
    if len(promised) != len(actual):
        return False
    pairs = zip(promised, actual, strict=True)
    return all(
        want == have if isinstance(want, int) else not isinstance(have, int) for want, have in pairs
    )


def _spell(shape: Any) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"


def _title(card: ModelCard, role: str) -> str:
    return f"model {card.name}: {card.path(role)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
