"""Checkpoints in the layout of the hub: real architectures with random weights.

Small ones by default; `size` names a published one, with as many words in its table as that has,
though the tokenizer made here knows few. Weights are scaled so that different inputs give clearly
different outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch

CAPTIONS: Final = (
    "a photo of a red fire truck, parked in front of a house",
    "two dogs playing with a ball on the beach at sunset",
    "an empty street; rain; night",
    "a person riding a bicycle through the city",
    "close-up of a wooden door with a brass handle",
    "the quick brown fox jumps over the lazy dog 0123456789",
)


def siglip(folder: Path, size: str = "") -> Path:
    """SigLIP, such as "base-patch16-224"; its vocabulary is sentencepiece's."""
    side = _siglip(folder, size, vocabulary=32_000 if size else 96)
    _processor(folder, "SiglipImageProcessor", side, resample=3)
    _sentencepiece(folder)
    return folder


def siglip2(folder: Path, size: str = "") -> Path:
    """SigLIP 2, such as "base-patch16-256" or "so400m-patch14-384"."""
    from tokenizers import Tokenizer, models, trainers
    from transformers import Siglip2Tokenizer

    side = _siglip(folder, size, vocabulary=256_000 if size else 200)
    _processor(folder, "SiglipImageProcessor", side, resample=2)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    trained.train_from_iterator(
        [text.replace(" ", "▁") for text in CAPTIONS],
        trainers.BpeTrainer(vocab_size=200, special_tokens=special, show_progress=False),
    )
    state = json.loads(trained.to_str())["model"]
    tokenizer = Siglip2Tokenizer(
        vocab=state["vocab"],
        merges=[tuple(pair) for pair in state["merges"]],
        padding_side="right",
        add_eos_token=True,
        model_max_length=64,
    )
    tokenizer.save_pretrained(folder)
    return folder


def dinov2(folder: Path, size: str = "") -> Path:
    """DINOv2 "small", "base" or "large": 518 pixels of positions, asked for at 224."""
    from transformers import Dinov2Config, Dinov2Model

    widths = {"": (64, 2, 4), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
    width, layers, heads = widths[size]
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=518 if size else 70,
        patch_size=14,
    )
    side = 224 if size else 56
    _save(_random(Dinov2Model(config)), folder)
    _settings(
        folder,
        {
            "image_processor_type": "BitImageProcessor",
            "do_center_crop": True,
            "crop_size": {"height": side, "width": side},
            "size": {"shortest_edge": 256 if size else 64},
            "resample": 3,
            **_IMAGENET,
        },
    )
    return folder


def dinov3(folder: Path, size: str = "") -> Path:
    """DINOv3, "vits16"."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    sizes = {} if size else _vit(hidden=64, layers=2, heads=4)
    side = 224 if size else 64
    config = DINOv3ViTConfig(image_size=side, patch_size=16, num_register_tokens=4, **sizes)
    processor = {
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "size": {"height": side, "width": side},
        "resample": 2,
        **_IMAGENET,
    }
    _save(_random(DINOv3ViTModel(config)), folder)
    _settings(folder, processor)
    return folder


def owlv2(folder: Path, size: str = "") -> Path:
    """OWLv2 "base-patch16" or "large-patch14"."""
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection

    small = _vit(hidden=64, layers=2, heads=4)
    large = _vit(hidden=1024, layers=24, heads=16, inner=4096)
    sizes: dict[str, tuple[int, int, int, dict[str, int], dict[str, int]]] = {
        "": (96, 16, 64, {**small, "vocab_size": 400, "max_position_embeddings": 16}, small),
        "base-patch16": (960, 16, 512, {}, {}),
        "large-patch14": (1008, 14, 768, _vit(hidden=768, layers=12, heads=12, inner=3072), large),
    }
    side, patch, projection, words_sizes, picture_sizes = sizes[size]
    config = Owlv2Config(
        text_config=words_sizes,
        vision_config={"image_size": side, "patch_size": patch, **picture_sizes},
        projection_dim=projection,
    )
    processor = {
        "image_processor_type": "Owlv2ImageProcessor",
        "size": {"height": side, "width": side},
        "resample": 2,
        "do_pad": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    _save(_random(Owlv2ForObjectDetection(config)), folder)
    _settings(folder, processor)
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(
        CAPTIONS,
        trainers.BpeTrainer(
            vocab_size=390,
            end_of_word_suffix="</w>",
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    state = json.loads(trained.to_str())["model"]
    words = {**state["vocab"]}
    last = config.text_config.vocab_size - 1
    words["<|startoftext|>"], words["<|endoftext|>"] = last - 1, last
    tokenizer = CLIPTokenizer(
        vocab=words,
        merges=[tuple(pair) for pair in state["merges"]],
        pad_token="!",
        model_max_length=16,
    )
    tokenizer.save_pretrained(folder)
    return folder


def grounding_dino(folder: Path, size: str = "") -> Path:
    """GroundingDINO "tiny" or "base"."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    return _grounded(folder, size, GroundingDinoConfig, GroundingDinoForObjectDetection)


def mm_grounding_dino(folder: Path, size: str = "") -> Path:
    """MM-GroundingDINO "tiny", of the same shape as LLMDet's."""
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    return _grounded(folder, size, MMGroundingDinoConfig, MMGroundingDinoForObjectDetection)


BUILDERS: Final[Mapping[str, Callable[..., Path]]] = {
    build.__name__: build
    for build in (siglip, siglip2, dinov2, dinov3, owlv2, grounding_dino, mm_grounding_dino)
}

_IMAGENET: Final = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def _siglip(folder: Path, size: str, vocabulary: int) -> int:
    """Both towers; the side of the pictures that it looks at."""
    from transformers import SiglipConfig, SiglipModel

    kind, _, rest = size.partition("-patch")
    patch, side = map(int, rest.split("-")) if rest else (16, 64)
    sizes = {
        "": _vit(hidden=64, layers=2, heads=4),
        "base": {},
        "so400m": _vit(hidden=1152, layers=27, heads=16, inner=4304),
    }[kind]
    config = SiglipConfig(
        text_config={**sizes, "vocab_size": vocabulary, "max_position_embeddings": 64},
        vision_config={**sizes, "image_size": side, "patch_size": patch},
    )
    _save(_random(SiglipModel(config)), folder)
    return side


def _grounded(folder: Path, size: str, config_kind: Any, model_kind: Any) -> Path:
    from transformers import BertConfig, BertTokenizer, SwinConfig

    words = _wordpieces(folder)
    swin: dict[str, Any] = {
        "": {"embed_dim": 32, "depths": [1, 1, 1, 1], "num_heads": [2, 2, 2, 2], "window_size": 7},
        "tiny": {
            "embed_dim": 96,
            "depths": [2, 2, 6, 2],
            "num_heads": [3, 6, 12, 24],
            "window_size": 7,
        },
        "base": {
            "embed_dim": 128,
            "depths": [2, 2, 18, 2],
            "num_heads": [4, 8, 16, 32],
            "window_size": 12,
        },
    }[size]
    bert: dict[str, int] = {}
    sizes: dict[str, int] = {}
    if not size:
        bert = {**_vit(hidden=32, layers=2, heads=2), "vocab_size": 1100}
        sizes = {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "num_queries": 20,
            "decoder_n_points": 2,
            "encoder_n_points": 2,
        }
    config = config_kind(
        backbone_config=SwinConfig(
            image_size=384 if size == "base" else 224,
            out_features=["stage2", "stage3", "stage4"],
            **swin,
        ),
        text_config=BertConfig(**bert),
        **sizes,
    )
    _save(_random(model_kind(config)), folder)
    _settings(
        folder,
        {
            "image_processor_type": "GroundingDinoImageProcessor",
            "size": {"shortest_edge": 800 if size else 96, "longest_edge": 1333 if size else 160},
            "resample": 2,
            "do_pad": True,
            **_IMAGENET,
        },
    )
    BertTokenizer(str(words), model_max_length=512).save_pretrained(folder)
    return folder


def _vit(*, hidden: int, layers: int, heads: int, inner: int = 0) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner or 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


def _random(model: Any) -> Any:
    """Wider weights than at the start of training, when all inputs look alike."""
    noise = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1:
                fan_in = value[0].numel()
                value.copy_(torch.randn(value.shape, generator=noise) * (1.2 / fan_in**0.5))
            elif name.endswith("bias"):
                value.copy_(torch.randn(value.shape, generator=noise) * 0.1)
    return model.eval()


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nRandom weights.\n")


def _settings(folder: Path, processor: Mapping[str, Any]) -> None:
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True} | dict(processor)
        )
    )


def _processor(folder: Path, kind: str, side: int, *, resample: int) -> None:
    _settings(
        folder,
        {
            "image_processor_type": kind,
            "size": {"height": side, "width": side},
            "resample": resample,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        },
    )


def _sentencepiece(folder: Path) -> None:
    import sentencepiece

    text = folder / "captions.txt"
    text.write_text("\n".join(CAPTIONS * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "spiece"),
        vocab_size=96,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    text.unlink()
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "SiglipTokenizer",
                "do_lower_case": True,
                "eos_token": "</s>",
                "pad_token": "</s>",
                "unk_token": "<unk>",
                "model_max_length": 64,
                "model_input_names": ["input_ids"],
            }
        )
    )


def _wordpieces(folder: Path) -> Path:
    """A vocabulary with the special ids where BERT has them."""
    from tokenizers import BertWordPieceTokenizer

    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(CAPTIONS, vocab_size=160, show_progress=False)
    learnt = [word for word in trained.get_vocab() if not word.startswith("[") and len(word) > 0]
    words = [f"[unused{number}]" for number in range(1100)]
    words[0], words[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words[1012], words[1029] = ".", "?"
    for number, word in enumerate(sorted(set(learnt) - {".", "?"})):
        words[200 + number] = word
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vocab.txt"
    path.write_text("\n".join(words))
    return path
