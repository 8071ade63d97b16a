"""The chart's rules for tests: with less to compare, and with shorter times.

A rule's durations stand in three places, and nowhere else (a test sees to it): in `for`, in the
brackets of ranges, and in thresholds, there as a product with the seconds of an hour or a minute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from support.go_programs import ROOT

RULES: Final = ROOT / "helm" / "data-miner" / "files" / "rules"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
RANGE: Final = re.compile(r"\[(\d+)([smhd])\]")
PRODUCT: Final = re.compile(r"\b(\d+) \* (3600|60)\b")
DURATION: Final = re.compile(r"(\d+)([smhd])")


def rules(folder: Path = RULES) -> Iterator[dict[str, Any]]:
    """Every rule, alerts and recording ones, file by file."""
    for path in sorted(folder.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts(folder: Path = RULES) -> Iterator[dict[str, Any]]:
    """Every rule that is an alert; of some names there are two, of different severity."""
    return (rule for rule in rules(folder) if "alert" in rule)


def hurried(folder: Path, divisor: float) -> str:
    """All rules as the text of one file, with their durations divided: `for`, ranges, thresholds.

    Not divided is what does not stand in a rule: how often targets are scraped (a range should
    hold four scrapes: `[2m]` by 30 needs one a second), and the times of the product itself: the
    operator lists once in DATA_MINER_OPERATOR_RESYNC_SECONDS (60; ReconcileStalled fires for ever
    where that is longer than 5 minutes by the divisor), asks a database that is away after 15 s at
    most, takes a lease for 15 s; workers beat and lose leases as their settings say. Numbers stay
    too: shares, counts in a window (more than 10 within what was an hour), failures *per hour*.
    Windows in the names of recorded series keep their names.
    """
    groups = []
    for path in sorted(folder.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                rule["expr"] = _expression(rule["expr"], divisor)
                if "for" in rule:
                    rule["for"] = DURATION.sub(lambda m: _divided(m, divisor), rule["for"])
            groups.append(group)
    return yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000)


def with_summaries_only(text: str) -> str:
    """A file of rules whose alerts have no other annotation, for tests that compare all of them:
    the other ones are the same for each series, so that there is nothing to see in them."""
    content = yaml.safe_load(text)
    for group in content["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    return yaml.safe_dump(content, sort_keys=False, width=1000)


def _expression(expression: str, divisor: float) -> str:
    shorter = RANGE.sub(lambda m: f"[{_divided(m, divisor)}]", expression)
    return PRODUCT.sub(lambda m: f"{m[1]} * {m[2]} / {divisor:g}", shorter)


def _divided(found: re.Match[str], divisor: float) -> str:
    milliseconds = int(found[1]) * _SECONDS[found[2]] * 1000 / divisor
    return f"{max(1, round(milliseconds))}ms"
