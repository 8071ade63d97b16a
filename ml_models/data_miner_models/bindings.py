"""Runs with inputs and outputs at fixed places on a device, so that no run allocates there."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data_miner_models.cards import Graph
from data_miner_models.cuda import page_locked

_KEPT: Final = 4
"""Sets of places that stay: a graph of fixed buckets needs one, captions come in many lengths."""
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class BoundRuns:
    """Runs one graph; from any thread, one run at a time. What it returns is the caller's.

    Args:
        session: of ONNX Runtime.
        device: where the places are, as ONNX Runtime calls it: ``cuda``, or ``cpu``.
    """

    def __init__(self, session: Any, graph: Graph, device: str) -> None:
        self._session, self._graph, self._device = session, graph, device
        self._known: OrderedDict[Shapes, _Places] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Outputs by role for inputs by role. Raises ValueError for inputs of another type; else
        what ONNX Runtime raises."""
        for role, value in inputs.items():
            wanted = self._graph.inputs[role].dtype
            if value.dtype != wanted:
                # Whose bytes would be taken as they are.
                raise ValueError(f"{self._graph.inputs[role].name} is {wanted}, not {value.dtype}")
        shapes = tuple((role, value.shape) for role, value in inputs.items())
        with self._lock:
            if shapes not in self._known:
                self._known[shapes] = _Places(
                    self._session, self._graph, self._device, dict(shapes)
                )
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(shapes)
            return self._known[shapes].run(inputs)


class _Places:
    """For inputs of these shapes."""

    def __init__(
        self, session: Any, graph: Graph, device: str, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._session, self._graph, self._device = session, graph, device
        self._binding = session.io_binding()
        self._found_each_time: list[str] = []
        """Outputs whose size is known only after a run."""
        self._inputs: dict[str, tuple[Any, NDArray[Any] | None]] = {}
        sizes: dict[str, int] = {}
        for role, shape in shapes.items():
            tensor = graph.inputs[role]
            there = _place(shape, tensor.dtype, device)
            self._binding.bind_ortvalue_input(tensor.name, there)
            here = page_locked(shape, tensor.dtype) if device == "cuda" else None
            self._inputs[role] = there, here
            sizes |= {
                name: size
                for name, size in zip(tensor.shape, shape, strict=False)
                if isinstance(name, str)
            }
        for tensor in graph.outputs.values():
            shape = tuple(sizes.get(n, -1) if isinstance(n, str) else n for n in tensor.shape)
            if -1 in shape:
                # Here too, as the binding gives outputs in the order in which they came to it.
                self._binding.bind_output(tensor.name, device)
                self._found_each_time.append(tensor.name)
            else:
                there = _place(shape, tensor.dtype, device)
                self._binding.bind_ortvalue_output(tensor.name, there)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        for role, value in inputs.items():
            there, here = self._inputs[role]
            if here is not None:
                np.copyto(here, value)
                value = here  # noqa: PLW2901  # the same numbers, where the GPU fetches them itself
            there.update_inplace(value)
        for name in self._found_each_time:
            # Or else the place of the run before stays, and another size does not fit it.
            self._binding.bind_output(name, self._device)
        self._session.run_with_iobinding(self._binding)
        # Copies, also where the places are in the same memory.
        return dict(zip(self._graph.outputs, self._binding.copy_outputs_to_cpu(), strict=True))


def _place(shape: tuple[int, ...], dtype: str, device: str) -> Any:
    # There is a session, so it is set up: runtime.py is the only one who may do that.
    import onnxruntime as ort  # noqa: PLC0415

    return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.dtype(dtype).type, device)
