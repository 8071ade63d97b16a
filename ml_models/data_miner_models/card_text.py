"""A model card as the TOML that `load_card` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping

from data_miner_models.cards import Graph, ModelCard, ModelFile, Tensor


def card_text(card: ModelCard) -> str:
    """The card's file; its folder is where it lies and is not told."""
    preprocessing = {key: value for key, value in card.preprocessing.facts.items() if key != "key"}
    blocks = [
        _lines(
            {
                "name": card.name,
                "family": card.family,
                "licence": card.licence,
                "summary": card.summary,
                "warning": card.warning,
                "source": card.source or None,
                "revision": card.revision or None,
                "training": card.training or None,
                "dimension": card.dimension,
                "max_batch": card.max_batch,
            }
        ),
        _table("preprocessing", preprocessing),
    ]
    if card.scoring is not None:
        blocks.append(_table("scoring", {"scale": card.scoring.scale, "bias": card.scoring.bias}))
    blocks += [file_text(role, file) for role, file in card.files.items()]
    blocks += [graph_text(role, graph) for role, graph in card.graphs.items()]
    for name in ("metrics", "flops", "parity"):
        values = getattr(card, name)
        if values:
            blocks.append(_table(name, values))
    return "\n".join(blocks)


def file_text(role: str, file: ModelFile) -> str:
    """The block of one file."""
    return _table(f"files.{role}", {"path": file.path, "sha256": file.sha256, "bytes": file.bytes})


def graph_text(role: str, graph: Graph) -> str:
    """The blocks of what a graph takes and gives."""
    sides = {"inputs": graph.inputs, "outputs": graph.outputs}
    return "".join(
        f"[graphs.{role}.{side}]\n"
        + "".join(f"{name} = {_tensor(tensor)}\n" for name, tensor in tensors.items())
        for side, tensors in sides.items()
    )


def _tensor(tensor: Tensor) -> str:
    shape = _value(list(tensor.shape))
    return f'{{ name = {_value(tensor.name)}, dtype = "{tensor.dtype}", shape = {shape} }}'


def _table(name: str, values: Mapping[str, object]) -> str:
    return f"[{name}]\n{_lines(values)}"


def _lines(values: Mapping[str, object]) -> str:
    return "".join(
        f"{key} = {_value(value)}\n" for key, value in values.items() if value is not None
    )


def _value(value: object) -> str:
    # Strings and numbers of JSON are TOML's as well; DEL is the one character that it forbids.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
