"""Prompts as captions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from data_miner_models.caption import MAX_TOKENS, CaptionError, captions, phrase_layout

WORDS = ["[UNK]", "[CLS]", "[SEP]", ".", "?", "a", "cat", "dog", "red", "fire", "truck", "-"]
ID = {word: number for number, word in enumerate(WORDS)}


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(ID, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def test_prompts_become_one_caption_with_a_span_each() -> None:
    """[CLS] a cat . dog . [SEP]"""
    (caption,) = captions(_tokenizer(), ["a cat", "Dog"])
    assert caption.ids.tolist() == [
        [ID[w] for w in ("[CLS]", "a", "cat", ".", "dog", ".", "[SEP]")]
    ]
    assert caption.spans == ((1, 3), (4, 5))
    assert caption.prompts == (0, 1)
    assert caption.positions.tolist() == [[0, 0, 1, 2, 0, 1, 0]]
    phrases = caption.phrases[0].tolist()
    assert phrases[1] == phrases[2] == phrases[3]
    assert phrases[4] == phrases[5]
    assert len(set(phrases)) == 4


def test_delimiters_in_a_prompt_do_not_part_it() -> None:
    """What it names is one thing."""
    (caption,) = captions(_tokenizer(), ["a. red fire? truck."])
    assert caption.spans == ((1, 5),)


@pytest.mark.parametrize("prompt", ["", "  ", ".", "?. ?"])
def test_a_prompt_without_words_is_refused(prompt: str) -> None:
    """It could match nothing."""
    with pytest.raises(CaptionError, match="has no words"):
        list(captions(_tokenizer(), ["cat", prompt]))


def test_a_prompt_that_is_too_long_by_itself_is_refused() -> None:
    """With its beginning and the number of tokens."""
    with pytest.raises(CaptionError, match=r"'cat cat .* 254 tokens, at most 253"):
        list(captions(_tokenizer(), ["cat " * (MAX_TOKENS - 2)]))
    assert len(list(captions(_tokenizer(), ["cat " * (MAX_TOKENS - 3)]))) == 1


def test_a_tokenizer_without_the_delimiters_is_refused() -> None:
    """Such as one of another family."""
    with pytest.raises(CaptionError, match=r"no token '\[CLS\]'"):
        list(captions(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), ["a"]))


@given(st.lists(st.integers(1, 60), max_size=40))
def test_every_prompt_is_in_exactly_one_caption_that_is_not_too_long(lengths: list[int]) -> None:
    """And its span holds its own tokens."""
    prompts = ["cat " * length for length in lengths]
    made = list(captions(_tokenizer(), prompts))
    assert sorted(index for caption in made for index in caption.prompts) == list(
        range(len(prompts))
    )
    for caption in made:
        assert caption.ids.shape[1] <= MAX_TOKENS
        for index, (first, behind) in zip(caption.prompts, caption.spans, strict=True):
            assert behind - first == lengths[index]
            assert set(caption.ids[0, first:behind].tolist()) == {ID["cat"]}


def test_tokens_behind_the_last_delimiter_stand_alone() -> None:
    """As the published code has it for a text that nobody closed."""
    ids = np.array([[1, 5, 3, 6, 7, 2]])
    phrases, positions = phrase_layout(ids, [1, 2, 3, 4])
    assert phrases[0, 1] == phrases[0, 2]
    assert len({*phrases[0].tolist()}) == 5
    assert positions.tolist() == [[0, 0, 1, 0, 0, 0]]
