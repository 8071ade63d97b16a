"""docs/troubleshooting.md knows every word that a status may say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from data_miner.catalog import phase
from data_miner_operator.reconcile.reasons import CONDITIONS
from data_miner_worker.download import failures

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
SOURCES = ("src/data_miner", "worker_image/data_miner_worker")


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def first_cells(text: str) -> list[str]:
    """Words in code in the first column of tables."""
    rows = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`(\w+)`", row)]


def test_every_reason_of_a_condition_or_a_phase_has_its_place() -> None:
    """In the table of those that somebody has to mend, or among those with which all is well."""
    text = section("What REASON says")
    fine = re.findall(r"`(\w+)`", text.partition("|")[0])
    in_trouble = first_cells(text)
    assert len(in_trouble) > 20
    assert sorted(fine + in_trouble) == sorted(set(fine) | set(in_trouble)), "one is there twice"
    source = Path(phase.__file__).read_text(encoding="utf-8")
    phases = set(re.findall(r'Phase\(\s*PhaseName\.\w+,\s*"(\w+)"', source)) - {"Deleted"}
    assert len(phases) > 6
    assert {*fine, *in_trouble} == phases | {
        reason
        for statuses in CONDITIONS.values()
        for reasons in statuses.values()
        for reason in reasons
    }


def test_every_class_of_failure_has_its_place() -> None:
    """Those that workers give, and those that the queue gives by itself."""
    assert set(first_cells(section("What has failed"))) == error_classes()


def error_classes() -> set[str]:
    """Every class that the programs can give to a task."""
    found = {name for name, _ in failures._STATUS.values()} | {name for _, name in failures._SAID}
    found |= {"refused", "site_error"}
    for path in [path for root in SOURCES for path in (ROOT / root).rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        found |= {
            call.args[0].value
            for call in ast.walk(ast.parse(text))
            if isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in {"StageError", "Failure"}
            and call.args
            and isinstance(call.args[0], ast.Constant)
            and isinstance(call.args[0].value, str)
        }
        found |= set(re.findall(r'Later\([^"]*f"(\w+):', text))
    for path in (ROOT / "src/data_miner/db/migrations").rglob("*.sql"):
        found |= set(re.findall(r"error_class = '(\w+)'", path.read_text(encoding="utf-8")))
    return found - {"live"}  # an outcome, no failure
