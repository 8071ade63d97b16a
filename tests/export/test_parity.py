"""What is exported says what the published model says, by its own processor and arithmetic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from data_miner_export import graph
from data_miner_models.cards import HALF, ModelCard, verify
from data_miner_models.golden import drawn, verify_golden
from data_miner_models.image_encoder import ImageEncoder
from data_miner_models.open_detector import open_detector
from data_miner_models.text_encoder import TextEncoder
from export.conftest import Exported
from support.checkpoints import BUILDERS, CAPTIONS

KINDS = tuple(BUILDERS)
ENCODERS = ("siglip", "siglip2", "dinov2", "dinov3")
GROUNDED = ("grounding_dino", "mm_grounding_dino")
PICTURES = tuple(
    drawn(number, height, width)
    for number, (height, width) in enumerate([(180, 320), (300, 200), (128, 128)])
)


def _published(exported: Exported, kind: str) -> tuple[Any, Any]:
    """The published model and its processor of images."""
    import transformers

    folder = exported.checkpoint(kind)
    if kind == "owlv2":
        model: Any = transformers.Owlv2ForObjectDetection.from_pretrained(folder)
    elif kind in GROUNDED:
        model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(folder)
    else:
        model = transformers.AutoModel.from_pretrained(folder)
    return model.eval(), transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")


@pytest.mark.parametrize("kind", KINDS)
def test_every_graph_is_within_its_limits(exported: Exported, kind: str) -> None:
    """Single: 1e-6 of cosine, half a pixel, 1e-3 of score; half precision: 1e-3 of cosine."""
    card = exported.model(kind)
    halves = {role.removesuffix(HALF) for role in card.files if role.endswith(HALF)}
    assert halves == (set() if kind in GROUNDED else set(card.graphs))
    for name, value in card.parity.items():
        if name.endswith("cosine"):
            assert value <= (1e-3 if "fp16" in name else 1e-6), name
        elif "fp16" not in name:
            assert value <= (0.5 if name.endswith("pixels") else 1e-3), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_published_verifies_without_torch(exported: Exported, kind: str) -> None:
    """In a process where torch and transformers cannot be imported."""
    card = exported.model(kind)
    verify(card)
    assert verify_golden(card)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'onnx')))\n"
        "from pathlib import Path\n"
        "from data_miner_models.cards import load_card\n"
        "from data_miner_models.golden import verify_golden\n"
        "print(verify_golden(load_card(sys.argv[1], [Path(sys.argv[2])])))"
    )
    command = [sys.executable, "-c", code, card.name, str(exported.store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "within" in done.stdout


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_picture_has_the_vector_of_the_published_pipeline(exported: Exported, kind: str) -> None:
    """From pixels to vector: the processor's own scaling, cutting and normalising included."""
    model, processor = _published(exported, kind)
    card = exported.model(kind)
    encoder = ImageEncoder(card, provider="cpu")
    for picture in PICTURES:
        pixels = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            tower = model.vision_model if kind.startswith("siglip") else model
            expected = tower(pixel_values=pixels).pooler_output[0].double().numpy()
        expected /= np.linalg.norm(expected)
        own = encoder(card.preprocessing.render(picture)[None])[0]
        assert 1 - float(expected @ own) < 1e-5


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_probabilities_are_those_of_the_published_model(exported: Exported, kind: str) -> None:
    """Pictures against prompts, through both towers, scale and bias."""
    from transformers import AutoTokenizer

    model, processor = _published(exported, kind)
    card = exported.model(kind)
    tokenizer = AutoTokenizer.from_pretrained(exported.checkpoint(kind))
    texts = [text.lower() for text in CAPTIONS]
    ids = tokenizer(texts, padding="max_length", max_length=64, truncation=True)["input_ids"]
    pixels = [processor(Image.fromarray(p), return_tensors="pt")["pixel_values"] for p in PICTURES]
    with torch.no_grad():
        logits = model(pixel_values=torch.cat(pixels), input_ids=torch.tensor(ids)).logits_per_image
    images = ImageEncoder(card, provider="cpu")(
        np.stack([card.preprocessing.render(picture) for picture in PICTURES])
    )
    words = TextEncoder(card, provider="cpu")(CAPTIONS)
    assert card.scoring is not None
    own = images @ words.T * card.scoring.scale + card.scoring.bias
    assert np.abs(own - logits.numpy()).max() < 1e-3


def _rendered(card: ModelCard, processor: Any, picture: np.ndarray) -> torch.Tensor:
    """What a worker makes of a picture, as the published model takes it."""
    levels = torch.from_numpy(card.preprocessing.render(picture)).to(torch.float64) / 255
    scaled = (levels - torch.tensor(processor.image_mean)) / torch.tensor(processor.image_std)
    return scaled.permute(2, 0, 1)[None].to(torch.float32)


def _found_by_owlv2(
    exported: Exported, picture: np.ndarray, *, whole_levels: bool
) -> tuple[Any, Any, Any]:
    """Boxes, scores and labels; of our render, or of the published one with its fractions."""
    from transformers import AutoTokenizer

    model, processor = _published(exported, "owlv2")
    tokenizer = AutoTokenizer.from_pretrained(exported.checkpoint("owlv2"))
    words = tokenizer(
        list(CAPTIONS), padding="max_length", max_length=16, truncation=True, return_tensors="pt"
    )
    if whole_levels:
        pixels = _rendered(exported.model("owlv2"), processor, picture)
    else:
        pixels = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        found = model(
            pixel_values=pixels,
            input_ids=words["input_ids"],
            attention_mask=words["attention_mask"],
        )
    height, width = picture.shape[:2]
    done = processor.post_process_object_detection(
        found, threshold=0.0, target_sizes=torch.tensor([[height, width]])
    )[0]
    return done["boxes"].numpy(), done["scores"].numpy(), done["labels"].numpy()


@pytest.mark.parametrize(
    ("whole_levels", "pixels", "score_gap"),
    [(True, 0.5, 1e-3), (False, 2.0, 1e-2)],
    ids=["of one render", "from the picture on"],
)
@pytest.mark.parametrize("number", range(len(PICTURES)))
def test_owlv2_finds_the_published_boxes_in_pixels_of_the_picture(
    exported: Exported, number: int, whole_levels: bool, pixels: float, score_gap: float
) -> None:
    """The best prompt of each box, without regard to order; wide, tall and square pictures. The
    published processor keeps fractions of a level, which random weights make much of."""
    picture = PICTURES[number]
    boxes, scores, labels = _found_by_owlv2(exported, picture, whole_levels=whole_levels)
    height, width = picture.shape[:2]
    inside = np.clip(boxes, 0, [width, height, width, height])
    real = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
    detector = open_detector(exported.model("owlv2"), provider="cpu", nms_iou=1.0)
    own = detector(picture, CAPTIONS, 0.0)
    assert real.sum() > 10
    for box, score, label in zip(inside[real], scores[real], labels[real], strict=True):
        same = own.labels == label
        apart = np.abs(own.boxes_xyxy[same] - box).max(axis=1)
        nearest = int(np.argmin(apart))
        assert apart[nearest] < pixels
        assert abs(own.scores[same][nearest] - score) < score_gap


def test_owlv2_finds_what_is_like_an_example(exported: Exported) -> None:
    """Image-guided: the example's vector is that of the published model's best box."""
    from data_miner_models.split_detector import SplitDetector

    model, processor = _published(exported, "owlv2")
    example, target = PICTURES[0], PICTURES[1]
    pixels = [_rendered(exported.model("owlv2"), processor, p) for p in (target, example)]
    with torch.no_grad():
        found = model.image_guided_detection(pixel_values=pixels[0], query_pixel_values=pixels[1])
    detector = SplitDetector(exported.model("owlv2"), provider="cpu", nms_iou=1.0)
    query = detector.example(example)
    own = detector.like(target, query[None], 0.0)
    expected = torch.sigmoid(found.logits[0, :, 0]).numpy()
    assert abs(own.scores[0] - np.sort(expected)[::-1][: len(own)].max()) < 1e-3


@pytest.mark.parametrize("kind", GROUNDED)
@pytest.mark.parametrize("size", [(90, 160), (160, 90)])
def test_a_picture_of_a_common_aspect_has_the_published_boxes(
    exported: Exported, kind: str, size: tuple[int, int]
) -> None:
    """16:9 and 9:16 run at exactly the published size, so nothing differs but rounding."""
    from transformers import AutoProcessor

    picture = drawn(2, *size)
    model, processor = _published(exported, kind)
    tokenizer = AutoProcessor.from_pretrained(exported.checkpoint(kind)).tokenizer
    prompts = ["a red fire truck", "two dogs", "the city"]
    inputs = dict(processor(Image.fromarray(picture), return_tensors="pt"))
    words = tokenizer(". ".join(prompts) + ".", return_tensors="pt")
    with torch.no_grad():
        found = model(**inputs, **words)
    chances = torch.sigmoid(found.logits[0]).numpy()
    height, width = picture.shape[:2]
    centre, extent = found.pred_boxes[0, :, :2].numpy(), found.pred_boxes[0, :, 2:].numpy()
    scale = np.array([width, height, width, height])
    boxes = np.hstack([centre - extent / 2, centre + extent / 2]) * scale
    boxes = np.clip(boxes, 0, scale)
    ids = words["input_ids"][0].tolist()
    dots = [index for index, token in enumerate(ids) if token == 1012]
    spans = list(zip([1, *(dot + 1 for dot in dots)], dots, strict=False))

    own = open_detector(exported.model(kind), provider="cpu", nms_iou=1.0)(picture, prompts, 0.0)
    compared = 0
    for label, (first, behind) in enumerate(spans):
        same = own.labels == label
        for box, score in zip(boxes, chances[:, first:behind].max(axis=1), strict=True):
            if not (box[2] > box[0] and box[3] > box[1]):
                continue
            cost = np.abs(own.boxes_xyxy[same] - box).max(axis=1)
            nearest = int(np.argmin(cost + 100 * np.abs(own.scores[same] - score)))
            assert cost[nearest] < 0.5
            assert abs(own.scores[same][nearest] - score) < 1e-3
            compared += 1
    assert compared > 10


@pytest.mark.parametrize("kind", GROUNDED)
def test_any_other_aspect_runs_in_a_larger_canvas(exported: Exported, kind: str) -> None:
    """Boxes stay within the picture, and what fills the canvas has no say."""
    detector = open_detector(exported.model(kind), provider="cpu", nms_iou=1.0)
    for size in ((100, 100), (40, 300), (300, 40), (90, 130)):
        found = detector(drawn(0, *size), ["a red fire truck"], 0.0)
        assert len(found)
        assert found.boxes_xyxy[:, [0, 2]].max() <= size[1]
        assert found.boxes_xyxy[:, [1, 3]].max() <= size[0]


@pytest.mark.parametrize("kind", ["siglip", "siglip2", "dinov2", "dinov3"])
def test_a_vector_does_not_depend_on_what_runs_beside_it(exported: Exported, kind: str) -> None:
    """Alone, at any place of a batch, and in 8 bits: the same bits."""
    for card in (exported.model(kind), exported.int8(kind)):
        encoder = ImageEncoder(card, provider="cpu")
        renders = np.stack([card.preprocessing.render(drawn(n, 96, 96)) for n in range(11)])
        whole = encoder(renders)
        for number in (0, 5, 10):
            assert np.array_equal(encoder(renders[number : number + 1])[0], whole[number])


def test_the_digest_of_a_model_in_8_bits_is_another(exported: Exported) -> None:
    """It is chosen by its name, and warns of what nobody has measured."""
    single, eight = exported.model("siglip2"), exported.int8("siglip2")
    assert single.digest != eight.digest
    assert eight.max_batch == 1
    assert eight.warning
    assert eight.files["image"].bytes < single.files["image"].bytes


def test_weights_that_graphs_share_are_stored_once(exported: Exported) -> None:
    """GroundingDINO in four sizes has the weights of one."""
    card: ModelCard = exported.model("grounding_dino")
    model = (exported.checkpoint("grounding_dino") / "model.safetensors").stat().st_size
    assert len(card.graphs) == 4
    assert card.files["weights"].bytes < 1.2 * model


@pytest.mark.parametrize("kind", ["dinov2", "siglip"])
def test_a_model_in_8_bits_brings_no_weights_of_others(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where those in single precision are too many for one file and lie beside the graphs."""
    monkeypatch.setattr(graph, "INSIDE_BYTES", 10_000)
    made = Exported(tmp_path)
    single, eight = made.model(kind), made.int8(kind)
    assert "weights" in single.files
    alone = {role: file for role, file in eight.files.items() if role != "tokenizer"}
    kept = sum(file.bytes for file in alone.values())
    assert kept < sum(file.bytes for file in single.files.values())
    assert ("weights" in eight.files) == (kind == "siglip")


def test_onnx_runtime_makes_no_mask_smaller_by_itself(exported: Exported) -> None:
    """Its Resize takes the row before where a picture ends exactly at a place of a map."""
    card = exported.model("grounding_dino")
    for role in card.graphs:
        if role.startswith("image"):
            graph = onnx.load(card.path(role), load_external_data=False).graph
            assert "Resize" not in {node.op_type for node in graph.node}, role
