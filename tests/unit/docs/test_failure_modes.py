"""docs/failure-modes.md names tests that there are, and settings as they are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from data_miner.settings import Settings

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/failure-modes.md").read_text(encoding="utf-8")


def test_every_row_names_a_test_that_is_there() -> None:
    """The numbers in the table are those of the list, and no test is named in vain."""
    rows = re.findall(r"^\| [^|]+ \| .* \| ([\d, ]+) \|$", DOCUMENT, re.MULTILINE)
    named = [number for row in rows for number in row.split(", ")]
    tests = dict(re.findall(r"^(\d+)\. `(.+?)`$", DOCUMENT, re.MULTILINE))
    assert len(tests) > 15
    assert named == list(tests)
    for place in tests.values():
        file, _, name = place.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), place


def test_the_settings_that_bound_a_time_have_these_values() -> None:
    """A default that changes changes what happens."""
    told = set(re.findall(r"`(\w+Seconds)` (\d+)", DOCUMENT))
    names = {re.sub(r"_(\w)", lambda m: m[1].upper(), f.name): f.default for f in fields(Settings)}
    pool = {"graceSeconds": 60.0}  # of the chart's pools
    assert len(told) > 4
    for name, seconds in told:
        assert float(seconds) == float(str({**names, **pool}[name])), name
