"""Text that comes from outside, made fit to be kept or shown: no secret, no control character."""

from __future__ import annotations

import re
from typing import Final

_PRIVATE: Final = re.compile(
    r"(?i)pass(?:word|wd)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|signature"
    r"|credential|authorization|cookie|x-amz-|x-goog-"
)
_SCHEME: Final = r"(?:(?:basic|bearer|digest|negotiate|token)\s+)?"
# A name is taken whole, and only where it begins: a long word costs one look, not one a letter.
_NAME: Final = re.compile(r"(?<![\w-])([\w-]++)(?:\s?=\s?|['\"]\s?:\s?(?=['\"]))")
"""What a value follows: ``name=``, or a quoted name and a colon before a quote."""
_VALUE: Final = re.compile(r"(?m)(['\"])(?:\\.|(?!\1).)*+(?:\1|$)|[^\s&\"']+")
"""Quoted, perhaps cut off, or one word."""
_SECRETS: Final = (
    (re.compile(r"(?s)(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?:(?=-----END)|\Z)"), r"\1***"),
    (re.compile(rf"(?i)(?<![\w-])((?:proxy-)?authorization:\s*{_SCHEME})[^\r\n]+"), r"\1***"),
    (re.compile(r"(?i)(?<![\w-])(x-[a-z-]*(?:key|token)|(?:set-)?cookie):\s*[^\r\n]+"), r"\1: ***"),
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s]+@"), r"\1:***@"),  # password in a URL
    (re.compile(r"(?i)(https?://)[^/\s:@?#]+@"), r"\1***@"),  # a token in its user's place
    (re.compile(r"(?i)\b(sig|auth|jwt|hdn\w+)=[^\s&\"']+"), r"\1=***"),
    # What a signature is called is each site's own affair; what is so long is no word.
    (re.compile(r"([?&](?!list=)[\w.\[\]-]+=)[^\s&\"'#<>]{24,}"), r"\1***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "***"),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|xox[abprs]-)[\w-]{16,}"), "***"),
)
_SPACES: Final = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]")
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, what turns the direction of writing round, and halves of surrogate pairs, which file
names without a valid encoding have."""


def redact(text: str) -> str:
    """The text without passwords in URLs, signed query values, tokens and access keys."""
    text = _without_values(text)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _without_values(text: str) -> str:
    """The text without the values of private names."""
    parts, done, at = [], 0, 0
    while name := _NAME.search(text, at):
        at = name.end()
        if _PRIVATE.search(name[1]) and (value := _VALUE.match(text, at)):
            parts += [text[done:at], "***"]
            done = at = value.end()
    return "".join([*parts, text[done:]])


def printable(text: str) -> str:
    """The text on one line, with nothing in it that a terminal obeys or a database refuses."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", _SPACES.sub(" ", text))


def shown(text: str) -> str:
    """Both: what may stand in a message, a table or a file for people."""
    return printable(redact(text))
