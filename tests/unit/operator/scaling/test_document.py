"""docs/scaling.md says what the code does."""

from __future__ import annotations

from support.scaling_day import timeline
from support.scaling_document import DOCUMENT, annotations_table, found, reasons_table

AGAIN = "run: PYTHONPATH=tests .venv/bin/python -m support.scaling_document"


def test_the_tables_of_annotations_and_reasons_are_the_codes() -> None:
    written = found(DOCUMENT.read_text("utf-8"))

    assert written["annotations"] == annotations_table(), AGAIN
    assert written["reasons"] == reasons_table(), AGAIN


def test_the_day_in_the_document_is_what_the_simulator_tells() -> None:
    written = found(DOCUMENT.read_text("utf-8"))

    assert written["day"] == f"```\n{timeline()}\n```\n", AGAIN
