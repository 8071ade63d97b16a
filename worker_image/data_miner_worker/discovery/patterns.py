"""Which names below a folder a source means: pure functions."""

from __future__ import annotations

import re
from typing import Final

_SUFFIXES: Final = (
    ".3g2 .3gp .asf .avi .dv .f4v .flv .ivf .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg .mpg .mts"
    " .mxf .ogv .ogm .qt .ts .vob .webm .wmv"
)
VIDEO_SUFFIXES: Final = frozenset(_SUFFIXES.split())
_WILD: Final = re.compile(r"[*?\[]")


def is_meant(name: str, glob: str) -> bool:
    """Whether a file is meant, by its path relative to the folder (with /).

    The glob must match: ``*`` and ``?`` within a name, ``**`` across folders, ``[abc]`` one of
    these. Hidden files and folders are passed over, and so is what is no video by its suffix,
    unless the glob itself says so: by naming them.
    """
    if not re.fullmatch(_expression(glob), name, re.DOTALL):
        return False
    if not _WILD.search(glob):
        return True
    if any(part.startswith(".") for part in name.split("/")):
        return False
    suffix = "." + name.rpartition(".")[2].lower()
    named = "." + glob.rpartition(".")[2].lower()
    return suffix in VIDEO_SUFFIXES or (suffix == named and not _WILD.search(named))


def deepest(glob: str) -> int | None:
    """How many names a match has at most; None where ``**`` allows any number."""
    return None if "**" in glob else glob.strip("/").count("/") + 1


def _expression(glob: str) -> str:
    parts, at, text = [], 0, glob.strip("/")
    while at < len(text):
        if text.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif text.startswith("**", at):
            parts.append(".*")
            at += 2
        elif text[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif text[at] == "?":
            parts.append("[^/]")
            at += 1
        elif text[at] == "[" and "]" in text[at + 2 :]:
            end = text.index("]", at + 2)
            inside = text[at + 1 : end]
            negated = inside[:1] in {"!", "^"}
            body = re.escape(inside[negated:]).replace(r"\-", "-")
            parts.append(f"[{'^/' if negated else ''}{body}]")
            at = end + 1
        else:
            parts.append(re.escape(text[at]))
            at += 1
    return "".join(parts)
