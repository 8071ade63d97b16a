"""Weights of several graphs in one file beside them, each tensor once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from data_miner_models.errors import ModelError

_PAGE: Final = 4096
"""Tensors begin at a page, so that they are mapped instead of read."""
_SMALL: Final = 1024
"""Bytes of a tensor that stays in its graph."""


def share(graphs: Mapping[Path, Path], weights: Path) -> None:
    """Write each graph anew with its large tensors in `weights`.

    Args:
        graphs: from, to; all targets lie in the folder of `weights`. One graph is in memory at a
            time.

    Raises:
        ModelError: a graph is not the one it was made from; they alone were measured.
    """
    import onnx  # noqa: PLC0415  # only where graphs share
    from onnx.external_data_helper import set_external_data  # noqa: PLC0415

    known: dict[str, int] = {}
    with weights.open("xb") as store:
        for source, target in graphs.items():
            model = onnx.load(source)
            for tensor in model.graph.initializer:
                content = bytes(tensor.raw_data)
                if len(content) < _SMALL:
                    continue
                digest = hashlib.sha256(content).hexdigest()
                if digest not in known:
                    store.write(bytes(-store.tell() % _PAGE))
                    known[digest] = store.tell()
                    store.write(content)
                set_external_data(tensor, weights.name, known[digest], len(content))
                tensor.ClearField("raw_data")
            onnx.save(model, target)
    for source, target in graphs.items():
        _refuse_others(source, target)


def _refuse_others(source: Path, target: Path) -> None:
    import onnx  # noqa: PLC0415

    before, after = (_state(onnx.load(path)) for path in (source, target))
    wrong = [name for name in before if before[name] != after.get(name)]
    if wrong:
        what = f"the weight {wrong[0]}" if wrong[0] else "what it computes"
        raise ModelError(f"{target}: {what} is not as in {source}, which was measured")


def _state(model: Any) -> dict[str, bytes]:
    """Hashes of the weights by name, wherever they lie, and of all else under no name."""
    state = {}
    for tensor in model.graph.initializer:
        state[tensor.name] = hashlib.sha256(tensor.raw_data).digest()
        for where in ("raw_data", "external_data", "data_location"):
            tensor.ClearField(where)
    state[""] = hashlib.sha256(model.SerializeToString(deterministic=True)).digest()
    return state
