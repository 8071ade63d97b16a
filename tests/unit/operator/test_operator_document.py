"""docs/operator.md shows kubectl's words as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from data_miner.catalog.phase import PhaseName
from data_miner.spec.crd import definition
from data_miner_operator.reconcile.reasons import EVENTS

DOCUMENT = (Path(__file__).parents[3] / "docs/operator.md").read_text(encoding="utf-8")
(VERSION,) = definition()["spec"]["versions"]
COLUMNS: list[dict[str, Any]] = VERSION["additionalPrinterColumns"]
NAMES = ["NAME", *(column["name"].upper() for column in COLUMNS)]


def _tables() -> list[list[str]]:
    """Lines of each table that `kubectl get mp` has printed."""
    found = re.findall(r"^\$ kubectl get mp.*\n((?:.+\n)+?)(?=\n|```)", DOCUMENT, re.MULTILINE)
    return [table.splitlines() for table in found]


def test_the_tables_have_the_columns_of_the_definition() -> None:
    """Those of `kubectl get`, and with `-o wide` all of them."""
    short, wide = _tables()
    usual = [column["name"].upper() for column in COLUMNS if not column["priority"]]
    assert short[0].split() == ["NAME", *usual]
    assert wide[0].split() == NAMES


def test_each_column_is_explained_with_its_field() -> None:
    """In the order in which they come."""
    rows = re.findall(r"^\| `([A-Z%]+)` \| (.+?) \| .+ \|$", DOCUMENT, re.MULTILINE)
    assert [name for name, _ in rows] == NAMES[1:]
    for (_, field), column in zip(rows[:-1], COLUMNS[:-1], strict=True):
        assert field == f"`{column['jsonPath'].removeprefix('.')}`"


def test_the_phases_and_events_that_are_shown_exist() -> None:
    """No capture is older than the words."""
    short, _ = _tables()
    assert {line.split()[1] for line in short[1:]} <= {phase.value for phase in PhaseName}
    told = re.findall(r"^  (Normal|Warning) +(\w+) ", DOCUMENT, re.MULTILINE)
    assert told
    assert all(EVENTS[reason][0] == kind for kind, reason in told)


def test_what_explain_shows_is_in_the_definition() -> None:
    """Each field of the filter with its description, cut into lines."""
    fields = VERSION["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["filter"]
    said = " ".join(DOCUMENT.partition("$ kubectl explain mp.spec.filter")[2].split())
    for name, field in fields["properties"].items():
        assert f"{name} <" in said
        assert field["description"] in said
