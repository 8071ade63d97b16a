"""Tokenizers as one JSON file that the tokenizers library reads, without transformers."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from data_miner_export.failing import step
from data_miner_models.errors import ModelError

_SPACES: Final = "".join(f"\\x{{{code:x}}}" for code in range(0x3001) if chr(code).isspace())
Published = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Words:
    """A tokenizer and how it pads.

    Attributes:
        tokenizer: gives ids with the special tokens in their places.
        published: what the checkpoint's own class makes of texts; cut and padded alike.
    """

    tokenizer: Tokenizer
    pad_id: int
    pad_token: str
    padding_side: Literal["left", "right"]
    published: Published


def read_words(folder: Path) -> Words:
    """The tokenizer of a checkpoint.

    Raises ModelError where there is none, or one that has no form without transformers.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415  # seconds, and only where it is needed

    with step(f"{folder}: tokenizer"):
        own = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if own.is_fast:
        tokenizer = Tokenizer.from_str(own.backend_tokenizer.to_str())
    elif type(own).__name__ == "SiglipTokenizer":
        tokenizer = _unigram(own)
    else:
        raise ModelError(f"{folder}: a {type(own).__name__} has no form without transformers")
    return Words(
        tokenizer,
        int(own.pad_token_id),
        str(own.pad_token),
        own.padding_side,
        lambda texts: [list(ids) for ids in own(list(texts))["input_ids"]],
    )


def padded(words: Words, length: int, *, lower: bool = False) -> Words:
    """The same, cut and padded to `length` ids.

    Args:
        lower: put texts into lower case first, as the model was trained on.
    """
    tokenizer = Tokenizer.from_str(words.tokenizer.to_str())
    if lower:
        _lower(tokenizer)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(
        length=length,
        pad_id=words.pad_id,
        pad_token=words.pad_token,
        direction=words.padding_side,
    )
    own = words.published

    def published(texts: Sequence[str]) -> list[list[int]]:
        return [
            _fitted(ids, length, words)
            for ids in own([text.lower() if lower else text for text in texts])
        ]

    return replace(words, tokenizer=tokenizer, published=published)


def _fitted(ids: list[int], length: int, words: Words) -> list[int]:
    """Cut as transformers cuts: the last special token stays."""
    if len(ids) > length:
        return [*ids[: length - 1], ids[-1]]
    filling = [words.pad_id] * (length - len(ids))
    return filling + ids if words.padding_side == "left" else ids + filling


def _lower(tokenizer: Tokenizer) -> None:
    first = normalizers.Lowercase()
    rest = tokenizer.normalizer
    tokenizer.normalizer = normalizers.Sequence([first, rest]) if rest else first


def _unigram(own: Any) -> Tokenizer:
    """SigLIP's sentencepiece vocabulary, with what its class does to a text beforehand."""
    from transformers.convert_slow_tokenizer import (  # noqa: PLC0415
        import_protobuf,
    )

    proto = import_protobuf().ModelProto()
    proto.ParseFromString(Path(own.vocab_file).read_bytes())
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    tokenizer = Tokenizer(
        Unigram(
            pieces,
            unk_id=proto.trainer_spec.unk_id,
            byte_fallback=proto.trainer_spec.byte_fallback,
        )
    )
    steps: list[Any] = [
        *([normalizers.Lowercase()] if own.do_lower_case else []),
        normalizers.Replace(Regex(f"[{_escaped(string.punctuation)}]"), ""),
        # What Python takes for space is more than what the library does.
        normalizers.Replace(Regex(f"[{_SPACES}]+"), " "),
        normalizers.Strip(),
    ]
    if proto.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    end = own.eos_token
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, own.eos_token_id)]
    )
    tokenizer.add_special_tokens([AddedToken(end, normalized=False, special=True)])
    return tokenizer


def _escaped(characters: str) -> str:
    return "".join(f"\\{character}" for character in characters)
