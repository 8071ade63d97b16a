"""Text that comes from outside, made fit to be kept or shown: no secret, no control character."""

from __future__ import annotations

import re
from typing import Final

_PRIVATE_NAMES: Final = (
    r"pass(?:word|wd)?|secret|token|api[_-]?key|access[_-]?key|signature|credential|x-amz-|x-goog-"
)
_SECRETS: Final = (
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s]+@"), r"\1:***@"),  # password in a URL
    (re.compile(r"(?i)(https?://)[^/\s:@?#]+@"), r"\1***@"),  # a token in its user's place
    (re.compile(rf"(?i)([\w-]*(?:{_PRIVATE_NAMES})[\w-]*)(\s?=\s?)[^\s&\"']+"), r"\1\2***"),
    (re.compile(r"(?i)\b(sig|auth|jwt|hdn\w+)=[^\s&\"']+"), r"\1=***"),
    # What a signature is called is each site's own affair; what is so long is no word.
    (re.compile(r"([?&](?!list=)[\w.\[\]-]+=)[^\s&\"'#<>]{24,}"), r"\1***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    (re.compile(r"(?i)\b((?:set-)?cookie):\s*[^\r\n]+"), r"\1: ***"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "***"),
)
_SPACES: Final = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]")
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, what turns the direction of writing round, and halves of surrogate pairs, which file
names without a valid encoding have."""


def redact(text: str) -> str:
    """The text without passwords in URLs, signed query values, tokens and access keys."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def printable(text: str) -> str:
    """The text on one line, with nothing in it that a terminal obeys or a database refuses."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", _SPACES.sub(" ", text))


def shown(text: str) -> str:
    """Both: what may stand in a message, a table or a file for people."""
    return printable(redact(text))
