"""Weights to image.onnx and text.onnx: python -m demo.export OUT.

Large weights are stored as float16 and cast back when a session loads, so all arithmetic is
float32. image.onnx takes uint8 renders and normalises them itself.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from demo.model import TinyModel, normalise
from demo.phrases import TEXT_LENGTH
from demo.pool import INPUT_HEIGHT, INPUT_WIDTH

OPSET = 18
HALF_FROM = 512
"""Weights with at least so many elements are stored as float16; the grid of centres has fewer."""
MOST_DIFFERENCE = 1e-3
IMAGE_OUTPUTS = ("image_embeds", "dedup_embeds", "pred_boxes", "class_embeds", "objectness")


class ImageGraph(nn.Module):
    """uint8 (B, 72, 128, 3) to the five outputs of IMAGE_OUTPUTS."""

    def __init__(self, model: TinyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        pixels = normalise(frames)
        tokens = self.model.trunk(pixels)
        image, vectors = self.model.image_vectors(tokens)
        boxes, objectness = self.model.boxes(tokens)
        dedup = self.model.dedup_vector(pixels, tokens)
        return image, dedup, boxes.transpose(1, 2), vectors.transpose(1, 2), objectness


def load_model(out: Path) -> TinyModel:
    """The trained model, batch norms folded and large weights rounded to float16."""
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    model = TinyModel(tokenizer.get_vocab_size())
    model.load_state_dict(torch.load(out / "weights.pt", map_location="cpu"))
    _fold_batch_norms(model.eval())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.numel() >= HALF_FROM:
                weight.copy_(weight.half().float())
    return model


def _fold_batch_norms(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        _fold_batch_norms(child)
        if not isinstance(child, nn.Sequential):
            continue
        layers: list[nn.Module] = []
        for layer in child:
            if isinstance(layer, nn.BatchNorm2d):
                layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
            else:
                layers.append(layer)
        setattr(module, name, nn.Sequential(*layers))


def export(out: Path) -> None:
    """Write image.onnx, text.onnx and scoring.json; raise where the graphs differ from torch."""
    model = load_model(out)
    renders = torch.randint(0, 255, (2, INPUT_HEIGHT, INPUT_WIDTH, 3), dtype=torch.uint8)
    image = ImageGraph(copy.deepcopy(model)).eval()
    _export(image, renders, out / "image.onnx", ("frames", "batch"), IMAGE_OUTPUTS)
    ids = torch.randint(1, 100, (2, TEXT_LENGTH))
    _export(model.text, ids, out / "text.onnx", ("input_ids", "prompts"), ("text_embeds",))
    scale, bias = model.log_scale.detach().exp().tolist(), model.bias.detach().tolist()
    scoring = {
        "image": {"scale": round(scale[0], 6), "bias": round(bias[0], 6)},
        "token": {"scale": round(scale[1], 6), "bias": round(bias[1], 6)},
    }
    (out / "scoring.json").write_text(json.dumps(scoring, indent=2) + "\n", encoding="utf-8")


def _export(
    graph: nn.Module, example: Tensor, path: Path, feed: tuple[str, str], outputs: tuple[str, ...]
) -> None:
    name, free = feed
    torch.onnx.export(
        graph,
        (example,),
        path,
        input_names=[name],
        output_names=list(outputs),
        dynamic_shapes=({0: torch.export.Dim(free, min=1, max=4096)},),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    _store_half(path)
    _compare(graph, path, name, example)


def _store_half(path: Path) -> None:
    model = onnx.load(path)
    graph = model.graph
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < HALF_FROM:
            continue
        half = numpy_helper.to_array(tensor).astype(np.float16)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(half, f"{tensor.name}_half"))
        cast = helper.make_node(
            "Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT
        )
        graph.node.insert(0, cast)
    _drop_traces(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _drop_traces(model: onnx.ModelProto) -> None:
    """Remove what names the exporting machine's files and only adds bytes."""
    model.doc_string = model.graph.doc_string = ""
    del model.graph.value_info[:], model.metadata_props[:], model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _compare(graph: nn.Module, path: Path, name: str, example: Tensor) -> None:
    batch = example.repeat(3, *(1 for _ in example.shape[1:]))[:5]
    with torch.no_grad():
        expected = graph(batch)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {name: batch.numpy()})
    expected = expected if isinstance(expected, tuple) else (expected,)
    for node, want, have in zip(session.get_outputs(), expected, found, strict=True):
        difference = float(np.abs(want.numpy() - have).max())
        print(f"{path.name} {node.name}: differs from torch by {difference:.1e}")
        if difference > MOST_DIFFERENCE:
            raise RuntimeError(f"{path}: {node.name} is {difference} away from torch")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Export the demo models to ONNX.")
    parser.add_argument("out", type=Path)
    export(parser.parse_args().out)
