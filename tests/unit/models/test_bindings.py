"""Inputs and outputs at fixed places give the same bits, and nothing of one run is in another.

On a CPU, where the same code runs as on a GPU; tests/gpu has the rest.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from data_miner_models.bindings import BoundRuns
from data_miner_models.cards import Graph, ModelCard, Tensor, load_card
from data_miner_models.runtime import open_file

NAMES = ("tiny-siglip", "tiny-dino", "tiny-detector")


def noise(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 72, 128, 3), dtype=np.uint8)


def bound(card: ModelCard, role: str = "image") -> BoundRuns:
    return BoundRuns(open_file(card.path(role)), card.graphs[role], "cpu")


def plain(card: ModelCard, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    graph = card.graphs["image"]
    names = [tensor.name for tensor in graph.outputs.values()]
    values = open_file(card.path("image")).run(names, {graph.inputs["frames"].name: frames})
    return dict(zip(graph.outputs, values, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_run_gives_the_bits_of_a_plain_one(name: str) -> None:
    """All outputs by their roles, at several batch sizes in turns."""
    card = load_card(name)
    run = bound(card)
    for count in (1, 8, 1, 3, 8):
        frames = noise(count, count)
        got, expected = run({"frames": frames}), plain(card, frames)
        assert list(got) == list(expected)
        for role, value in expected.items():
            assert np.array_equal(got[role], value), role


def test_what_a_run_gave_is_not_touched_by_the_next() -> None:
    """The places are used again; the results are the caller's."""
    run = bound(load_card("tiny-dino"))
    first = run({"frames": noise(4, 1)})["embeds"]
    kept = first.copy()
    second = run({"frames": noise(4, 2)})["embeds"]
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_what_a_run_was_given_is_not_kept() -> None:
    """Whoever fills one array again and again gets each time what was in it."""
    run = bound(load_card("tiny-dino"))
    frames = noise(2, 1)
    once = run({"frames": frames})["embeds"]
    frames[:] = noise(2, 2)
    other = run({"frames": frames})["embeds"]
    frames[:] = noise(2, 1)
    assert np.array_equal(run({"frames": frames})["embeds"], once)
    assert not np.array_equal(once, other)


def test_views_are_taken_as_they_look() -> None:
    """Rows in reverse order are not the bytes that lie there."""
    card = load_card("tiny-dino")
    frames = noise(6, 3)
    got = bound(card)({"frames": frames[::-2]})["embeds"]
    assert np.array_equal(got, plain(card, frames[::-2].copy())["embeds"])


def test_threads_do_not_meet_in_the_places() -> None:
    """Each gets what belongs to its own input."""
    card = load_card("tiny-dino")
    run = bound(card)
    inputs = [noise(2, seed) for seed in range(4)]
    expected = [plain(card, frames)["embeds"] for frames in inputs]
    together = threading.Barrier(4)

    def many(which: int) -> bool:
        together.wait(60)
        return all(
            np.array_equal(run({"frames": inputs[which]})["embeds"], expected[which])
            for _ in range(10)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(many, range(4)))


def test_inputs_of_another_type_are_refused() -> None:
    """Their bytes would be read as if they were of the right one."""
    run = bound(load_card("tiny-dino"))
    with pytest.raises(ValueError, match="frames is uint8, not float32"):
        run({"frames": noise(1, 0).astype(np.float32)})


def test_a_run_that_failed_leaves_nothing_behind() -> None:
    """The next one of the right shape runs."""
    card = load_card("tiny-dino")
    run = bound(card)
    with pytest.raises(Exception, match="frames"):
        run({"frames": np.zeros((1, 9, 9, 3), np.uint8)})
    frames = noise(1, 5)
    assert np.array_equal(run({"frames": frames})["embeds"], plain(card, frames)["embeds"])


def test_prompts_are_bound_as_well() -> None:
    """Ids are wider than pixels."""
    card = load_card("tiny-siglip")
    run = bound(card, "text")
    ids = np.random.default_rng(0).integers(1, 50, (1, 16), dtype=np.int64)
    expected = open_file(card.path("text")).run(["text_embeds"], {"input_ids": ids})[0]
    assert np.array_equal(run({"ids": ids})["embeds"], expected)


class Counting:
    """A session that tells how often places were made for it."""

    def __init__(self, session: Any) -> None:
        self.session, self.made = session, 0

    def io_binding(self) -> ort.IOBinding:
        self.made += 1
        return self.session.io_binding()

    def run_with_iobinding(self, binding: ort.IOBinding) -> None:
        self.session.run_with_iobinding(binding)


def test_places_are_made_once_for_a_shape() -> None:
    """And let go when many other shapes came since."""
    card = load_card("tiny-dino")
    session = Counting(open_file(card.path("image")))
    run = BoundRuns(session, card.graphs["image"], "cpu")
    for count in (1, 2, 1, 2, 1):
        run({"frames": noise(count, 0)})
    assert session.made == 2
    for count in (3, 4, 5, 6, 1):
        run({"frames": noise(count, 0)})
    assert session.made == 7


def test_outputs_whose_size_is_known_only_afterwards_come_too() -> None:
    """A card may name an axis of an output that no input has."""
    card = load_card("tiny-dino")
    graph = card.graphs["image"]
    free = Graph(graph.inputs, {"embeds": Tensor("dedup_embeds", "float32", ("rows", "wide"))})
    run = BoundRuns(open_file(card.path("image")), free, "cpu")
    for count in (2, 5, 2):
        frames = noise(count, count)
        assert np.array_equal(run({"frames": frames})["embeds"], plain(card, frames)["embeds"])


def test_an_output_may_have_another_size_with_each_run(tmp_path: Path) -> None:
    """As what a graph selects by its values; the order of the outputs stays the card's."""
    graph = helper.make_graph(
        [
            helper.make_node("NonZero", ["frames"], ["places"]),
            helper.make_node("Identity", ["frames"], ["same"]),
        ],
        "selecting",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", 3])],
        [
            helper.make_tensor_value_info("places", TensorProto.INT64, [2, "found"]),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, ["batch", 3]),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "x.onnx")
    outputs = {
        "places": Tensor("places", "int64", (2, "found")),
        "same": Tensor("same", "float32", ("batch", 3)),
    }
    card = Graph({"frames": Tensor("frames", "float32", ("batch", 3))}, outputs)
    run = BoundRuns(open_file(tmp_path / "x.onnx"), card, "cpu")
    for rows in ([[1, 0, 0]], [[1, 1, 1]], [[0, 0, 0]], [[0, 1, 1]]):
        frames = np.array(rows, np.float32)
        found = run({"frames": frames})
        assert np.array_equal(found["places"], np.nonzero(frames))
        assert np.array_equal(found["same"], frames)
