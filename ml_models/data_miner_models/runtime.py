"""The only place where ONNX Runtime is set up: which device, how many threads, which guarantees."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# Or else it tells its maker of every run, and leaves an id of this machine in the home folder. It
# looks when it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from data_miner_models import cuda
from data_miner_models.bindings import BoundRuns
from data_miner_models.cards import ModelCard, Tensor, verify
from data_miner_models.engines import engine_folder, engine_options, with_engines
from data_miner_models.errors import ModelError, PassingError
from data_miner_models.external import external_files
from data_miner_models.providers import Choice, Device, Provider, choices, in_order
from data_miner_models.use import MODEL_USE

_CPU: Final = "CPUExecutionProvider"
_DTYPES: Final = {"uint8": "tensor(uint8)", "int64": "tensor(int64)", "float32": "tensor(float)"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A loaded graph whose inputs and outputs are those that its card promises."""

    card: ModelCard
    role: str
    choice: Choice
    """Where it runs, after "auto" has chosen."""
    _session: Any
    _bound: BoundRuns | None = None
    """On a GPU; elsewhere inputs and outputs are where the graph wants them."""

    @property
    def device(self) -> Device:
        """What computes."""
        return self.choice.device

    def run(self, **inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Outputs by role for inputs by role.

        Raises ModelError where the graph refuses them, PassingError for anything else.
        """
        began = time.monotonic()
        try:
            found = self._bound(inputs) if self._bound else self._run(inputs)
        except Exception as error:
            # ONNX Runtime has no public base class for what it raises.
            kind = _kind(error)
            raise kind(f"{_title(self.card, self.role)}: {_one_line(error)}") from error
        count = len(next(iter(inputs.values()), ()))
        MODEL_USE.ran(self.device, count, time.monotonic() - began)
        return found

    def _run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        graph = self.card.graphs[self.role]
        feeds = {graph.inputs[role].name: value for role, value in inputs.items()}
        names = [tensor.name for tensor in graph.outputs.values()]
        return dict(zip(graph.outputs, self._session.run(names, feeds), strict=True))


def open_session(
    card: ModelCard,
    role: str,
    *,
    provider: Provider = "auto",
    threads: int = 1,
    engines: Path | None = None,
) -> Session:
    """Load one graph of a model after checking its files against their hashes.

    Args:
        card: the model.
        role: which of its graphs, such as "image" or "text"; on a GPU its counterpart in half
            precision runs, where the model has one.
        provider: "auto" takes a GPU where there is one; any other name insists on it.
        threads: CPU threads inside one operator; results do not depend on it.
        engines: folder where TensorRT's engines are kept; nothing else needs one.

    Raises:
        GoneError: a provider was asked for that does not start here.
        PassingError: a file cannot be read, an engine not be kept, or memory ran out.
        ModelError: a file is missing or altered, is no ONNX graph, has weights in a file that its
            card does not name, or other inputs or outputs than its card says.
    """
    began = time.monotonic()
    tried = choices(provider, ort.get_available_providers(), card, role)
    for choice in tried:
        verify(card, {choice.file, "weights"} & set(card.files))
        _check_weights(card, choice.file)
        try:
            session = _load(card, role, choice, threads, engines)
        except ModelError as error:
            if choice is tried[-1]:
                raise
            _log.warning("%s; going on without %s", error, choice.name)
            continue
        # What does not start is left out by ONNX Runtime, which goes on with a CPU.
        if session.get_providers()[0] == choice.in_onnx_runtime:
            break
        if provider != "auto":
            raise choice.gone(_why(choice))
    _compare(card, role, "input", card.graphs[role].inputs, session.get_inputs())
    _compare(card, role, "output", card.graphs[role].outputs, session.get_outputs())
    MODEL_USE.loaded(choice.device, time.monotonic() - began)
    _log.info("model %s: %s runs on %s", card.name, role, choice.words)
    bound = None if choice.device == "cpu" else BoundRuns(session, card.graphs[role], choice.device)
    return Session(card, role, choice, session, bound)


def _check_weights(card: ModelCard, file: str) -> None:
    """Raise ModelError where weights would be loaded that nobody has held against a hash."""
    path = card.path(file)
    try:
        beside = external_files(path)
    except OSError as error:
        raise PassingError(f"{_title(card, file)}: {error.strerror}") from error
    named = {os.path.normpath(card.path("weights"))} if "weights" in card.files else set()
    for name in beside:
        if os.path.normpath(path.parent / name) not in named:
            raise ModelError(
                f"{_title(card, file)}: has weights in {name}, which its card does not name as "
                "files.weights"
            )


def _load(
    card: ModelCard, role: str, choice: Choice, threads: int, engines: Path | None
) -> ort.InferenceSession:
    if choice.name != "tensorrt":
        return _open(card, choice, in_order(choice, threads=threads), threads)
    try:
        version = cuda.tensorrt_version()
    except OSError as error:
        raise choice.gone(str(error)) from None
    gpu = cuda.first_gpu()
    if gpu is None:
        raise choice.gone("there is no GPU, or no driver")
    if engines is None:
        raise ModelError("TensorRT needs a folder for its engines")
    graph = card.graphs[role]
    versions = {"tensorrt": version, "onnxruntime": ort.__version__}
    folder = engine_folder(engines, card, choice, gpu, versions)
    if not folder.is_dir():
        _log.info("model %s: TensorRT builds engines for %s; this takes minutes", card.name, role)

    def start(at: Path) -> ort.InferenceSession:
        more = engine_options(choice, graph, at)
        session = _open(card, choice, in_order(choice, threads=threads, more=more), threads)
        if session.get_providers()[0] != choice.in_onnx_runtime:
            # Before a folder without engines is taken for one with them.
            raise choice.gone(_why(choice))
        return session

    try:
        return with_engines(folder, start)
    except OSError as error:
        raise PassingError(f"cannot keep TensorRT's engines in {folder}: {error}") from error


def _open(
    card: ModelCard,
    choice: Choice,
    providers: Sequence[tuple[str, Mapping[str, str]]],
    threads: int,
) -> ort.InferenceSession:
    try:
        return _start(card.path(choice.file), threads, providers)
    except Exception as error:
        # As above: a file that is no model raises one of many private classes.
        words, kind = _one_line(error), _kind(error)
        if unknown := _UNKNOWN.search(words):
            # Among places in its sources and words about other things.
            words = f"OpenVINO has no operation {unknown[1].strip()}; use provider cpu"
            kind = ModelError
        raise kind(f"{_title(card, choice.file)}: {words}") from error


def _kind(error: Exception) -> type[ModelError]:
    """What to raise for what ONNX Runtime raised: anything but a wrong graph or input may pass,
    such as memory of a GPU that others hold."""
    return ModelError if type(error).__name__ in _WRONG else PassingError


_WRONG: Final = frozenset(
    {"InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "ValueError"}
)

_UNKNOWN: Final = re.compile(r"OpenVINO does not support the following ONNX operations: ([\w, ]+)")


def _why(choice: Choice) -> str:
    """What the loader says about a provider that did not start; empty where it has nothing to say.

    Only afterwards: the library must not be in memory before ONNX Runtime has made itself known.
    """
    name = choice.in_onnx_runtime.removesuffix("ExecutionProvider").lower()
    library = Path(ort.__file__).with_name("capi") / f"libonnxruntime_providers_{name}.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return ""


def open_file(path: Path, *, threads: int = 1) -> Any:
    """A session of ONNX Runtime on a CPU, for a file that has no card yet.

    Raises ModelError where it is no graph that can be loaded.
    """
    try:
        return _start(path, threads, [(_CPU, {})])
    except Exception as error:
        # As above: there is no public base class.
        raise ModelError(f"{path}: {_one_line(error)}") from error


def _start(
    path: Path, threads: int, providers: Sequence[tuple[str, Mapping[str, str]]]
) -> ort.InferenceSession:
    """A session whose numbers depend on the input alone.

    Full optimisation and prepacking stay on: without them, kernels change with the batch size and
    the thread count.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Or else it tries again with other providers and says so on the standard output.
    return ort.InferenceSession(str(path), options, providers=list(providers), enable_fallback=0)


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
