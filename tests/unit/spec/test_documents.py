"""Two tables: specs that are accepted, and projects that are refused, with the exact words."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from data_miner.errors import SpecError
from data_miner.spec import load_project, project_from

HERE: Final = Path(__file__).parent
ACCEPTED: Final[dict[str, str]] = yaml.safe_load((HERE / "accepted.yaml").read_text("utf-8"))
REFUSED: Final[dict[str, dict[str, Any]]] = yaml.safe_load(
    (HERE / "refused.yaml").read_text("utf-8")
)
SOURCES: Final = "sources: [{search: {query: doors}}]\n"


def document(spec: str, metadata: str = "{name: doors}") -> str:
    head = "apiVersion: data-miner.io/v1alpha1\nkind: MiningProject\n"
    return f"{head}metadata: {metadata}\nspec:\n{textwrap.indent(spec, '  ')}\n"


def text_of(case: dict[str, Any]) -> str:
    if "text" in case:
        return str(case["text"])
    if "metadata" in case:
        return document(SOURCES, case["metadata"])
    return document(case["spec"] if "spec" in case else SOURCES + case["sections"])


def lines_of(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_project(text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    """A right document loads, and what was read is what a plain YAML reader finds in it."""
    text = document(ACCEPTED[name])

    project = load_project(text)

    assert project == project_from(yaml.safe_load(text))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """A wrong document is refused with these lines: where, what was given, what is allowed."""
    assert lines_of(text_of(REFUSED[name])) == REFUSED[name]["says"]


def test_passwords_are_refused_and_not_repeated() -> None:
    """An address with a user name or password is refused, and points to credentials."""
    text = document('sources: [{channel: {url: "https://me:s3cret@site.example/a"}}]')

    assert lines_of(text) == [
        (
            "project:5: spec.sources[0].channel.url: must not hold a user name or password: "
            "put them in a credential and name it in spec.download.secretRef"
        )
    ]


def test_all_errors_at_once_in_the_order_of_the_file() -> None:
    """Every wrong line of a file is named, from its top to its bottom."""
    text = document(
        "weight: 0\n"
        "sources:\n"
        "  - {serch: {query: a}}\n"
        "  - search: {query: b}\n"
        "filter: {positive: []}\n"
        "dedup: {threshold: 2}\n"
        "colour: red\n",
        metadata="{name: A}",
    )

    places = [line.split(": ")[:2] for line in lines_of(text)]

    assert places == [
        ["project:3", "metadata.name"],
        ["project:5", "spec.weight"],
        ["project:7", "spec.sources[0].serch"],
        ["project:9", "spec.filter.positive"],
        ["project:10", "spec.dedup.threshold"],
        ["project:11", "spec.colour"],
    ]


def test_plain_data_is_refused_with_the_same_words() -> None:
    """An object from Kubernetes is judged as a file is; its lines start with where it is from."""
    data = yaml.safe_load(document(SOURCES + "dedup: {treshold: 1, prefer: sharpest}\n"))

    with pytest.raises(SpecError) as caught:
        project_from(data, where="default/doors")

    assert str(caught.value).splitlines() == [
        (
            'default/doors: spec.dedup.prefer: got "sharpest"; must be one of First, Sharpest; '
            "did you mean Sharpest?"
        ),
        "default/doors: spec.dedup.treshold: unknown key; did you mean threshold?",
    ]


def test_what_an_api_server_adds_is_passed_over() -> None:
    """A file that kubectl wrote, with status and server-made metadata, loads."""
    plain = document(SOURCES)
    text = f"{plain}status: {{images: 3}}\n".replace(
        "{name: doors}", "{name: doors, uid: 1-2, generation: 4, managedFields: [{}]}"
    )

    assert load_project(text) == load_project(plain)
