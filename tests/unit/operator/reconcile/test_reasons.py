"""The closed list of reasons, and the document that shows it."""

from __future__ import annotations

import re
from pathlib import Path

from data_miner.catalog import phase
from data_miner.catalog.phase import Phase
from data_miner_operator.reconcile import asked
from data_miner_operator.reconcile.conditions import TYPES
from data_miner_operator.reconcile.reasons import CONDITIONS, EVENTS, STALLS

DOCUMENT = (Path(__file__).parents[4] / "docs/operator.md").read_text(encoding="utf-8")


def test_the_document_shows_every_reason_of_every_condition() -> None:
    """docs/operator.md has one row for each, with what it means, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| (True|False|Unknown) \| `(\w+)` \| (.+) \|$", DOCUMENT, re.M)
    assert rows == [
        (type_, status, reason, meaning)
        for type_, statuses in CONDITIONS.items()
        for status, reasons in statuses.items()
        for reason, meaning in reasons.items()
    ]


def test_the_document_shows_every_event() -> None:
    """One row for each, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| (Normal|Warning) \| (.+) \|$", DOCUMENT, re.MULTILINE)
    assert rows == [(reason, kind, meaning) for reason, (kind, meaning) in EVENTS.items()]


def test_the_document_shows_every_annotation() -> None:
    """One row for each, and no other."""
    rows = re.findall(r"^\| `(data-miner\.io/[a-z-]+)` \|", DOCUMENT, re.MULTILINE)
    assert sorted(rows) == sorted([asked.RECONCILE, asked.ADOPT, asked.RETRY_FAILED])


def test_every_condition_has_its_reasons() -> None:
    """The types are those that a status may have."""
    assert sorted(CONDITIONS) == sorted(TYPES)


def test_every_reason_why_the_catalogue_stalls_is_known() -> None:
    """A new one there needs its meaning here; so does a new one of a complete project."""
    source = Path(phase.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'_stalled\(\s*"(\w+)"', source)) == set(STALLS)
    complete = set(re.findall(r'PhaseName\.COMPLETE, "(\w+)"', source))
    assert complete == set(CONDITIONS["Complete"]["True"])
    assert Phase.__doc__
