"""The traps of YAML, each refused in one line or read as a Kubernetes client reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_miner.errors import SpecError
from data_miner.spec import load_project, load_projects
from data_miner.spec.yaml_text import MAX_BYTES, read_documents

DOORS = """\
apiVersion: data-miner.io/v1alpha1
kind: MiningProject
metadata: {name: doors}
spec: {sources: [{search: {query: doors}}]}
"""

BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 't:4: key "c" is there twice, first on line 3'),
        ("a: !!python/object/apply:os.system [ls]\n",
         "t:1: tags are not allowed: remove !!python/object/apply:os.system"),
        ("a: !secret b\n", "t:1: tags are not allowed: remove !secret"),
        ("a: ! 5\n", "t:1: tags are not allowed: remove !"),
        ("a: !!str 5\n", "t:1: tags are not allowed: remove !!str"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n",
         "t:3: merge keys (<<) are not supported: write the keys out"),
        ("a: *b\n", "t:1: *b stands for nothing: no such anchor above"),
        ("a: &a [*a]\n", "t:1: *a stands for nothing: no such anchor above"),
        ("? [a, b]\n: c\n", "t:1: a key must be plain text"),
        ("[" * 5000, "t:1: is nested deeper than 32 levels"),
        (BOMB, "t:6: holds more than 50000 values once aliases are written out"),
        ("a: [b\nc: d\n", "t:2: is not YAML: expected ',' or ']', but got ':'"),
        ("a:\n\t- b\n", "t:2: is not YAML: found character '\\t' that cannot start any token"),
        ('a: "b\n', "t:2: is not YAML: found unexpected end of stream"),
        ('a: "\\0"\n', "t:1: holds a NUL character"),
        ('a: "\\ud800"\n', "t:1: holds half a surrogate pair, which is no character"),
        ('"\\0": a\n', "t:1: holds a NUL character"),
        ("a: " + "x" * MAX_BYTES,
         "t: is larger than 1 MiB; put long lists of videos into urls.file"),
    ],
)  # fmt: skip
def test_refused(text: str, message: str) -> None:
    """What misleads, harms or cannot be read is one line with the place."""
    with pytest.raises(SpecError) as caught:
        read_documents(text, "t")

    assert str(caught.value) == message


def test_control_characters_are_refused() -> None:
    """A raw control character is one line that names it."""
    with pytest.raises(SpecError, match=r"^t: is not YAML: unacceptable character #x0007[^\n]*$"):
        read_documents("a: \x07\n", "t")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", True), ("off", False), ("y", "y"), ("~", None), ("''", ""), ("'no'", "no"),
        ("12", 12), ("-1_0", "-1_0"), ("010", "010"), ("0x10", "0x10"), ("1:30", "1:30"),
        ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), (".inf", ".inf"), ("2026-01-02", "2026-01-02"),
        ("1" * 30, float("1" * 30)), ("&a b", "b"),
        (r'"\ud83d\udeaa"', "🚪"),
    ],
)  # fmt: skip
def test_plain_words(written: str, value: object) -> None:
    """A word without quotes is a number or a flag only where every reader agrees."""
    (node,) = read_documents(f"a: {written}\n", "t")

    found = node.plain()["a"]
    assert (type(found), found) == (type(value), value)


def test_a_key_is_text_whatever_it_looks_like() -> None:
    """Keys such as on and 1 stay what was written."""
    (node,) = read_documents("{on: a, 1: b, null: c}", "t")

    assert node.plain() == {"on": "a", "1": "b", "null": "c"}


@pytest.mark.parametrize("text", ["\n", "# nothing\n", "---\n---\n", "null\n"])
def test_empty(text: str) -> None:
    """A file without a document says what it should hold."""
    with pytest.raises(SpecError) as caught:
        load_project(text)

    assert str(caught.value) == (
        "project: is empty; it must hold a MiningProject of data-miner.io/v1alpha1"
    )


def test_several_documents() -> None:
    """A file of several projects loads as such, and is refused where one is wanted."""
    text = f"---\n{DOORS}---\n# none\n---\n{DOORS.replace('name: doors', 'name: halls')}"

    assert [p.metadata.name for p in load_projects(text)] == ["doors", "halls"]
    with pytest.raises(SpecError) as caught:
        load_project(text)
    assert str(caught.value) == (
        "project: holds 2 projects (doors, halls); one is wanted: put each in its own file"
    )


def test_errors_of_all_documents_at_once() -> None:
    """Lines count through the file; two projects of one name are an error too."""
    text = f"{DOORS}---\n{DOORS}---\n{DOORS.replace('query', 'qwery')}"

    with pytest.raises(SpecError) as caught:
        load_projects(text)

    assert str(caught.value).splitlines() == [
        "project:14: spec.sources[0].search.query: is missing; must be text of 1 to 300 characters",
        "project:14: spec.sources[0].search.qwery: unknown key; did you mean query?",
        "project: holds default/doors twice",
    ]


def test_files(tmp_path: Path) -> None:
    """A path may be text or a Path, and a byte order mark is passed over."""
    file = tmp_path / "doors.yaml"
    file.write_text("\ufeff" + DOORS, "utf-8")

    assert load_project(file) == load_project(str(file)) == load_project(DOORS)


def test_lines_name_the_file(tmp_path: Path) -> None:
    """Each line starts with the file and the line in it."""
    file = tmp_path / "doors.yaml"
    file.write_text(DOORS.replace("doors}", "Doors}", 1), "utf-8")

    with pytest.raises(SpecError, match=rf"^{file}:3: metadata\.name: got \"Doors\"; must be "):
        load_project(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing, a folder, not UTF-8, too large or badly named is one line."""
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(DOORS.replace("doors", "t\u00fcr").encode("latin-1"))
    large = tmp_path / "large.yaml"
    large.write_text("# \u00e9" + "\u00e9" * MAX_BYTES, "utf-8")
    cases: dict[str | Path, str] = {
        tmp_path / "no.yaml": f"{tmp_path}/no.yaml: there is no such file; check the path",
        tmp_path: f"{tmp_path}: is a folder; give the path of a project file in it",
        latin: f"{latin}: is not UTF-8 text (byte 73); save it as UTF-8",
        large: f"{large}: is larger than 1 MiB; put long lists of videos into urls.file",
        latin / "a.yaml": f"{latin}/a.yaml: cannot be read: Not a directory",
        tmp_path / ("a" * 300): f"{tmp_path}/{'a' * 300}: cannot be read: File name too long",
        "": "no file: give the path of a project file",
    }

    for path, message in cases.items():
        with pytest.raises(SpecError) as caught:
            load_project(path)
        assert str(caught.value) == message
