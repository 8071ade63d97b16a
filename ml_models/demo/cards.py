"""The three model cards, and the folder that is shipped."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from demo.pool import INPUT_HEIGHT, INPUT_WIDTH

TOKENS = (INPUT_HEIGHT // 8) * (INPUT_WIDTH // 8)
FILES = {"image": "image.onnx", "text": "text.onnx", "tokenizer": "tokenizer.json"}
WARNING = (
    "For demonstrations and tests: it knows 8 colours, 8 shapes and 3 textures of drawn scenes "
    "and nothing of the real world."
)
TRAINING = (
    "Drawn from nothing by ml_models/demo: {scenes} random scenes of coloured shapes with exact "
    "truth, encoded and decoded with two of H.264, HEVC, VP9 and AV1 each; no third-party data."
)
VECTOR = '{{ name = "{name}", dtype = "float32", shape = ["batch", {size}] }}'
TEXT_GRAPH = """
[graphs.text.inputs]
ids = { name = "input_ids", dtype = "int64", shape = ["prompts", 16] }
[graphs.text.outputs]
embeds = { name = "text_embeds", dtype = "float32", shape = ["prompts", 96] }
"""


def write_bundle(out: Path, bundled: Path) -> None:
    """Copy the models from `out` into `bundled`/tiny and write a card for each contract.

    The cards carry the figures of out/metrics.json, or none before they are measured.
    """
    (bundled / "tiny").mkdir(parents=True, exist_ok=True)
    for name in FILES.values():
        shutil.copyfile(out / name, bundled / "tiny" / name)
    scoring = json.loads((out / "scoring.json").read_text(encoding="utf-8"))
    measured = out / "metrics.json"
    metrics = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    scenes = json.loads((out / "train.json").read_text(encoding="utf-8"))["scenes"]
    training = TRAINING.format(scenes=scenes)
    (bundled / "tiny-siglip.toml").write_text(
        _head("tiny-siglip", "siglip", "Image and text vectors for prompts.", training, 96)
        + _scoring(scoring["image"])
        + _files(bundled, "image", "text", "tokenizer")
        + _image_graph(embeds=VECTOR.format(name="image_embeds", size=96))
        + TEXT_GRAPH
        + _table("metrics", metrics.get("filter", {})),
        encoding="utf-8",
    )
    (bundled / "tiny-dino.toml").write_text(
        _head("tiny-dino", "dino", "Image vectors for near-duplicates.", training, 64)
        + _files(bundled, "image")
        + _image_graph(embeds=VECTOR.format(name="dedup_embeds", size=64))
        + _table("metrics", metrics.get("dedup", {})),
        encoding="utf-8",
    )
    token = f'{{{{ name = "{{name}}", dtype = "float32", shape = ["batch", {TOKENS}{{rest}}] }}}}'
    (bundled / "tiny-detector.toml").write_text(
        _head("tiny-detector", "open-vocabulary", "Boxes for prompts.", training, 96)
        + _scoring(scoring["token"])
        + _files(bundled, "image", "text", "tokenizer")
        + _image_graph(
            boxes=token.format(name="pred_boxes", rest=", 4"),
            class_embeds=token.format(name="class_embeds", rest=", 96"),
            objectness=token.format(name="objectness", rest=""),
        )
        + TEXT_GRAPH
        + _table("metrics", metrics.get("detector", {})),
        encoding="utf-8",
    )


def _head(name: str, family: str, summary: str, training: str, dimension: int) -> str:
    return f"""name = "{name}"
family = "{family}"
licence = "Apache-2.0"
summary = "{summary}"
warning = "{WARNING}"
training = "{training}"
dimension = {dimension}

[preprocessing]
mode = "squash"
height = {INPUT_HEIGHT}
width = {INPUT_WIDTH}
resample = "bilinear"
"""


def _scoring(values: dict[str, float]) -> str:
    return _table("scoring", values)


def _files(bundled: Path, *roles: str) -> str:
    text = ""
    for role in roles:
        content = (bundled / "tiny" / FILES[role]).read_bytes()
        text += f"""
[files.{role}]
path = "tiny/{FILES[role]}"
sha256 = "{hashlib.sha256(content).hexdigest()}"
bytes = {len(content)}
"""
    return text


def _image_graph(**outputs: str) -> str:
    frames = f'shape = ["batch", {INPUT_HEIGHT}, {INPUT_WIDTH}, 3]'
    lines = "\n".join(f"{role} = {tensor}" for role, tensor in outputs.items())
    return f"""
[graphs.image.inputs]
frames = {{ name = "frames", dtype = "uint8", {frames} }}
[graphs.image.outputs]
{lines}
"""


def _table(name: str, values: dict[str, float] | dict[str, str]) -> str:
    # JSON's numbers and strings are TOML's as well.
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
    return f"\n[{name}]\n{lines}\n"
