"""What runbooks tell a person to type, as far as it can be tried without a cluster.

`tests/docs/test_cluster.py` runs their blocks on one.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic.alias_generators import to_camel
from sqlalchemy import text

from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from data_miner.settings import Settings
from support.go_programs import ROOT
from support.prometheus import Prometheus

RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("Data*.md"))
EXPRESSION = re.compile(r"^```promql\n(.*?)^```$", re.M | re.S)
STATEMENT = re.compile(r'psql -h /tmp -U data_miner -d data_miner -c "([^"]+)"')


def test_every_query_of_a_runbook_is_answered_by_a_database_of_this_release(
    database_url: str,
) -> None:
    statements = {found for path in RUNBOOKS for found in STATEMENT.findall(path.read_text())}
    assert len(statements) > 4
    upgrade(database_url)
    engine = engine_for(database_url)
    try:
        with engine.connect() as conn:
            for statement in statements:
                conn.execute(text(statement)).all()
    finally:
        engine.dispose()


def test_every_expression_of_a_runbook_parses(tmp_path: Path) -> None:
    blocks = [found for path in RUNBOOKS for found in EXPRESSION.findall(path.read_text())]
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 3
    with Prometheus(tmp_path) as server:
        for line in lines:
            server.tree(line)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_every_value_of_the_chart_that_a_runbook_names_is_one(path: Path) -> None:
    """Each word of its path; what stands below `settings` is a setting in the chart's spelling."""
    settings = {to_camel(field.name) for field in fields(Settings)}
    known = {*re.findall(r"\w+", (ROOT / "docs" / "values.md").read_text()), *settings}
    named = re.findall(r"`((?:\w+\.)(?:<name>\.|\w+\.)*\w+)(?:: [^`]*)?`", path.read_text())
    values = [name for name in named if name.split(".")[0] in CHART]
    words = {word for name in values for word in re.findall(r"\w+", name)} - {"name"}
    assert sorted(words - known) == []


CHART = frozenset({
    "database", "storage", "workers", "operator", "monitoring", "networkPolicy", "settings",
    "scaling", "scratch", "resources",
})  # fmt: skip
"""What a value's path begins with, in full or within a pool."""
