"""Every command that a document shows is run by a test, or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.documents import (
    RUNNERS,
    Block,
    blocks,
    dangling_marks,
    documents,
    run,
    script,
    unsaid,
)

ALL = [block for name in documents() for block in blocks(name)]
SAMPLE = """text

<!-- save as: word.txt -->
```text
glass
```

<!-- run: local -->
```console
$ cat word.txt
glass
$ wc -l <word.txt; echo took 12.5 s, more or less
1
took 3 s, …
```

<!-- not run: it costs a year -->
```sh
sleep 31557600
```

<!-- run: local -->

```sh
echo
```
"""


def test_every_command_block_is_run_or_says_why_not() -> None:
    """The comment above it names a runner that there is, or a reason in words."""
    wrong = [block.place for block in ALL if block.is_commands and not _is_accounted_for(block)]
    assert wrong == []
    assert len([block for block in ALL if block.mark == "run"]) > 10


def test_no_other_block_has_such_a_comment_and_none_stands_alone() -> None:
    """A comment that slipped away from its block would say nothing."""
    odd = [block.place for block in ALL if block.mark in {"run", "not run"}]
    assert [place for place in odd if place not in {b.place for b in ALL if b.is_commands}] == []
    assert [b.place for b in ALL if b.mark == "save as" and b.is_commands] == []
    assert [place for name in documents() for place in dangling_marks(name)] == []


def test_no_command_hides_in_a_block_that_is_not_called_one() -> None:
    """What a reader would type is `sh` or `console`."""
    typed = re.compile(r"^(\$ |(kubectl|helm|data-miner|docker|make|kind|scripts/\S+) )", re.M)
    others = [b for b in ALL if not b.is_commands and b.language in {"", "text"}]
    assert [block.place for block in others if typed.search(block.text)] == []


def test_blocks_are_found_with_their_comments() -> None:
    """A comment counts only directly above its block."""
    found = blocks("sample.md", SAMPLE)
    assert [(b.language, b.mark, b.told, b.line) for b in found] == [
        ("text", "save as", "word.txt", 4),
        ("console", "run", "local", 9),
        ("sh", "not run", "it costs a year", 18),
        ("sh", "", "", 24),
    ]
    assert found[1].steps[1] == (
        "wc -l <word.txt; echo took 12.5 s, more or less",
        ["1", "took 3 s, …"],
    )
    assert dangling_marks("sample.md", SAMPLE) == ["sample.md:22"]


def test_blocks_run_as_one_script_and_print_what_the_document_says(tmp_path: Path) -> None:
    """A file that a document shows is there for the commands below it."""
    saved, shown, *_ = blocks("sample.md", SAMPLE)
    assert "glass" in run([saved, shown], tmp_path, {"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$ echo glass\nstone", "x.md:7: echo glass: printed no 'stone'"),
        ("$ true\n$ echo why >&2; false", "x.md:7 failed: echo why >&2; false\nwhy"),
        ("$ exit 0\n$ true", "x.md:7 ended the script: exit 0"),
    ],
)
def test_a_block_that_does_not_do_what_it_says_is_named(
    tmp_path: Path, text: str, message: str
) -> None:
    """With its place, its command and what that printed."""
    with pytest.raises(AssertionError) as caught:
        run([Block("x.md", 7, "console", text)], tmp_path, {"PATH": "/usr/bin:/bin"})
    assert message in str(caught.value)


def test_lines_may_be_left_out_and_keep_their_order() -> None:
    """A document shows the lines that matter; blanks, durations and digests may differ."""
    assert unsaid(["a", "c"], "a\nb\nc\n") == ""
    assert unsaid(["c", "a"], "a\nb\nc\n") == "a"
    assert unsaid(["demo  6   2m5s …"], "demo 6 75s 0123456789abcdef\n") == ""
    assert unsaid(["demo  6   2m5s"], "demo 7 75s\n") == "demo  6   2m5s"


def test_every_runner_has_something_to_run() -> None:
    """One that has not would not be noticed."""
    assert all(any(script(name, runner) for name in documents()) for runner in RUNNERS)


def _is_accounted_for(block: Block) -> bool:
    if block.mark == "run":
        return block.told in RUNNERS
    return block.mark == "not run" and len(block.told.split()) > 2
