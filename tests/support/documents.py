"""Command blocks of the documents, and how each is tried: a comment above it says so.

    <!-- run: local -->                      the blocks of a document that a runner runs are one
    <!-- run: cluster -->                    script, in one folder and one shell, from top to bottom
    <!-- not run: needs a kind cluster -->   the reason why no test runs it
    <!-- save as: project.yaml -->           a block of another language is a file for those below

A block of `sh` is commands. In one of `console` they stand behind a ``$``, and the lines below are
what they print: an ellipsis stands for anything, durations and digests may differ.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.go_programs import ROOT

RUNNERS: Final = ("local", "api server", "cluster")
"""A laptop; an API server without a node, where things are accepted and nothing starts; nodes."""
COMMANDS: Final = frozenset({"sh", "bash", "shell", "console"})
"""Languages of blocks that hold commands."""
_FENCE: Final = re.compile(r"^( *)(```+|~~~+)(\w*)\s*$")
_MARK: Final = re.compile(r"^ *<!-- (run|not run|save as): (.+?) -->$")
_STEP: Final = "@@ step "


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block with the comment above it."""

    document: str
    """Path in the repository."""
    line: int
    """Of its first fence."""
    language: str
    """Empty where none is named."""
    text: str
    mark: str = ""
    """ "run", "not run", "save as", or nothing."""
    told: str = ""
    """What the comment says behind the colon."""

    @property
    def place(self) -> str:
        """For people and their editors."""
        return f"{self.document}:{self.line}"

    @property
    def is_commands(self) -> bool:
        """Whether a reader would type it."""
        return self.language in COMMANDS

    @property
    def steps(self) -> Sequence[tuple[str, Sequence[str]]]:
        """Commands, each with the lines that it prints as the document has them."""
        if self.language != "console":
            return [(self.text, ())]
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            elif found and line.strip():
                found[-1][1].append(line)
        return found


def documents() -> list[str]:
    """Paths of all documents of the repository, those that are not committed yet too."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return [name for name in listed if (ROOT / name).is_file()]


def blocks(document: str, text: str | None = None) -> list[Block]:
    """Every fenced block of a document, from top to bottom."""
    given = (ROOT / document).read_text(encoding="utf-8") if text is None else text
    return list(_blocks(document, given.splitlines()))


def dangling_marks(document: str, text: str | None = None) -> list[str]:
    """Places of comments that look like a mark and stand above no block."""
    given = (ROOT / document).read_text(encoding="utf-8") if text is None else text
    used = {block.line - 1 for block in blocks(document, given) if block.mark}
    looks = re.compile(r"<!-- *(not )?(run|save)\b")
    return [
        f"{document}:{number}"
        for number, line in enumerate(given.splitlines(), 1)
        if looks.search(line) and number not in used
    ]


def script(document: str, runner: str) -> list[Block]:
    """Blocks of a document that a runner runs, and the files that they need."""
    found = blocks(document)
    if not any((block.mark, block.told) == ("run", runner) for block in found):
        return []
    return [b for b in found if b.mark == "save as" or (b.mark, b.told) == ("run", runner)]


def run(wanted: Sequence[Block], folder: Path, environment: Mapping[str, str]) -> str:
    """Run blocks as one script in a folder; what they print.

    Raises AssertionError with the place and the words of the first command that fails, or that
    prints something else than the document says. What was left in the background is ended.
    """
    steps = [(block, *step) for block in wanted for step in _steps(block)]
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for number, (_, command, _) in enumerate(steps):
        lines += [f"echo {shlex.quote(f'{_STEP}{number}')}", command]
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write("\n".join([*lines, ""]))
        file.flush()
        output, code = _shell(Path(file.name), folder, environment)
    told = re.split(rf"^{_STEP}\d+\n", output, flags=re.MULTILINE)[1:]
    assert told, f"nothing was run: {output}"
    for (block, command, expected), said in zip(steps, told, strict=False):
        missing = unsaid(expected, said)
        assert not missing, f"{block.place}: {command}: printed no {missing!r}:\n{said}"
    block, command, _ = steps[len(told) - 1]
    assert not code, f"{block.place} failed: {command}\n{told[-1]}"
    assert len(told) == len(steps), f"{block.place} ended the script: {command}\n{told[-1]}"
    return output


def unsaid(expected: Sequence[str], said: str) -> str:
    """The first line that a document shows and a command did not print, in this order; or ""."""
    printed = iter([_plain(line) for line in said.splitlines()])
    for line in expected:
        pattern = ".*".join(map(re.escape, _plain(line).split("…")))
        if not any(re.fullmatch(pattern, each) for each in printed):
            return line
    return ""


def checkout(folder: Path) -> Path:
    """A folder that looks like the repository, in which a document's commands may write."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in {".git", "out"}:
            (folder / path.name).symlink_to(path)
    return folder


def _shell(file: Path, folder: Path, environment: Mapping[str, str]) -> tuple[str, int]:
    """What a script prints, and its exit status. Whatever it has started ends with the caller."""
    process = subprocess.Popen(
        ["bash", str(file)], cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return output, process.returncode


def _steps(block: Block) -> Sequence[tuple[str, Sequence[str]]]:
    if block.mark == "save as":
        end = "END-OF-FILE"
        return [(f"cat >{shlex.quote(block.told)} <<'{end}'\n{block.text}{end}", ())]
    return block.steps


def _plain(line: str) -> str:
    """A line without what may differ from run to run."""
    text = re.sub(r"\b\d+(\.\d+)? (ms|s|min|h)\b|\b(\d+(ms|[dhms]))+\b", "TIME", line)
    text = " ".join(text.split())
    return re.sub(r"\b[0-9a-f]{16,64}\b", "DIGEST", text)


def _blocks(document: str, lines: Sequence[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if not opening:
            number += 1
            continue
        indent, fence, language = opening.groups()
        close = next(
            (n for n in range(number + 1, len(lines)) if lines[n].strip() == fence), len(lines)
        )
        text = "".join(f"{line.removeprefix(indent)}\n" for line in lines[number + 1 : close])
        mark = _MARK.match(lines[number - 1]) if number else None
        kind, told = mark.groups() if mark else ("", "")
        yield Block(document, number + 1, language, text, kind, told)
        number = close + 1
