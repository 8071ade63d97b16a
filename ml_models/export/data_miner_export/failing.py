"""What goes wrong on the way, as one line without secrets, and whether it may go well later."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Final

from data_miner.outside import shown
from data_miner.storage.away import is_away
from data_miner_models.errors import ModelError

_WORDS: Final = 300
"""Characters of another library's message."""
_BEARER: Final = re.compile(r"(?i)\b(bearer)\s+\S+")
_LATER: Final = frozenset({408, 425, 429})
"""Answers below 500 that ask for patience."""
_OF_NETWORKS: Final = frozenset({"TransportError", "XetDownloadError"})
_OF_OUR_OWN: Final = frozenset(
    {"OfflineModeIsEnabled", "LocalProtocolError", "UnsupportedProtocol"}
)
"""Connections that were never tried. By name: which library brings them changes with the hub's."""


def hub_token() -> str | None:
    """HF_TOKEN as it can be sent: one read from a file ends with its line, and no header may."""
    return "".join(os.environ.get("HF_TOKEN", "").split()) or None


def said(error: Exception) -> str:
    """What an error says, on one line, without the hub's token and anything else that is secret."""
    words = " ".join(str(error).split()) or type(error).__name__
    if token := hub_token():
        words = words.replace(token, "***")
    return shown(_BEARER.sub(r"\1 ***", words))[:_WORDS]


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Whatever is raised inside becomes a ModelError: `what`, and the error's own words.

    Torch, transformers, ONNX Runtime and safetensors have errors of their own, many of them
    under no common class.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{what}: {said(error)}") from error


def may_pass(error: BaseException) -> bool:
    """Whether a hub or a store gave no answer, or one that asks for patience."""
    each: BaseException | None = error
    while each is not None:
        names = {kind.__name__ for kind in type(each).__mro__}
        if names & _OF_OUR_OWN:
            return False
        status = getattr(getattr(each, "response", None), "status_code", 0)
        if status in _LATER or status >= 500 or names & _OF_NETWORKS or is_away(each):
            return True
        each = each.__cause__ or each.__context__
    return False
