"""Prompts as one caption, for models that read all of them at once.

GroundingDINO reads "a cat. a dog.": the delimiters part phrases, which do not see each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

MAX_TOKENS: Final = 256
"""Most that the published models read."""
_DELIMITERS: Final = ("[CLS]", "[SEP]", ".", "?")
_ENDS: Final = 2
"""Tokens around all phrases."""


class CaptionError(ValueError):
    """A prompt cannot be read. The message is one line."""


@dataclass(frozen=True)
class Caption:
    """Prompts as the model reads them.

    Attributes:
        prompts: their indices among those that were given.
        ids: int64 (1, tokens).
        phrases: int64 (1, tokens): tokens with the same number see each other.
        positions: int64 (1, tokens): places in the phrase.
        spans: for each prompt the first of its tokens and the one behind its last.
    """

    prompts: tuple[int, ...]
    ids: NDArray[np.int64]
    phrases: NDArray[np.int64]
    positions: NDArray[np.int64]
    spans: tuple[tuple[int, int], ...]


def captions(tokenizer: Tokenizer, prompts: Sequence[str]) -> Iterator[Caption]:
    """All prompts in as few captions as hold them.

    Raises CaptionError for a prompt that has no words or is too long by itself.
    """
    words = [_words(tokenizer, prompt) for prompt in prompts]
    special = [_token(tokenizer, token) for token in _DELIMITERS]
    group: list[int] = []
    length = _ENDS
    for index in range(len(prompts)):
        if group and length + len(words[index]) + 1 > MAX_TOKENS:
            yield _caption(group, words, special)
            group, length = [], _ENDS
        group.append(index)
        length += len(words[index]) + 1
    if group:
        yield _caption(group, words, special)


def _token(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise CaptionError(f"the tokenizer has no token {token!r}, which captions are made with")
    return int(number)


def _words(tokenizer: Tokenizer, prompt: str) -> list[int]:
    # Delimiters within a prompt would part it: what it names is one thing.
    clean = " ".join(prompt.replace(".", " ").replace("?", " ").split())
    ids = list(tokenizer.encode(clean, add_special_tokens=False).ids)
    if not ids:
        raise CaptionError(f"prompt {prompt!r} has no words")
    if len(ids) + 3 > MAX_TOKENS:
        raise CaptionError(
            f"prompt {prompt[:40]!r}... has {len(ids)} tokens, at most {MAX_TOKENS - 3} are read"
        )
    return ids


def _caption(
    group: Sequence[int], words: Sequence[Sequence[int]], special: Sequence[int]
) -> Caption:
    start, end, delimiter, _ = special
    ids, spans = [start], []
    for index in group:
        spans.append((len(ids), len(ids) + len(words[index])))
        ids += [*words[index], delimiter]
    ids.append(end)
    row = np.array([ids], np.int64)
    phrases, positions = phrase_layout(row, special)
    return Caption(tuple(group), row, phrases, positions, tuple(spans))


def phrase_layout(
    ids: NDArray[np.int64], delimiters: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the phrases and places in them, for ids (1, tokens).

    A phrase reaches from behind one delimiter up to and with the next; the first and the last
    token stand alone, and so does each one between the last delimiter and the end.
    """
    count = ids.shape[1]
    special = np.isin(ids[0], delimiters)
    phrases = count + np.arange(count)
    positions = np.zeros(count, np.int64)
    begin = 0
    for index in np.flatnonzero(special):
        if 0 < index < count - 1:
            # Numbers from 0 for phrases, which are named by their first token.
            phrases[begin : index + 1] = begin
            positions[begin : index + 1] = np.arange(index + 1 - begin)
        begin = int(index) + 1
    return phrases[None], positions[None]
