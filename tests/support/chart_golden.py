"""Golden renders: what the chart makes without values, and how each other way to install differs.

`PYTHONPATH=tests python -m support.chart_golden` writes them into tests/chart/golden.
"""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import Any

import yaml

from support.chart import CASES, Object, render
from support.go_programs import ROOT

GOLDEN = ROOT / "tests" / "chart" / "golden"


def goldens() -> dict[Path, str]:
    """Every golden file with its content."""
    plain = listing(render())
    found = {GOLDEN / "default.yaml": plain}
    for name in CASES:
        lines = difflib.unified_diff(
            plain.splitlines(keepends=True),
            listing(render(name)).splitlines(keepends=True),
            "no values",
            f"ci/{name}-values.yaml",
            n=1,
        )
        # Positions move with every line above them and say nothing.
        found[GOLDEN / f"{name}.diff"] = "".join(
            "@@\n" if line.startswith("@@") else line for line in lines
        )
    return found


def listing(objects: list[Object]) -> str:
    """Objects for people to compare: by kind and name, without what is the same everywhere."""
    ordered = sorted(objects, key=lambda each: (each["kind"], each["metadata"]["name"]))
    return "".join(
        f"--- # {each['kind']}/{each['metadata']['name']}\n"
        + yaml.safe_dump(
            _brief(_shortened(each)), width=140, sort_keys=False, default_flow_style=None
        )
        for each in ordered
        if each["kind"] != "CustomResourceDefinition"
    )


def _shortened(thing: Object) -> Object:
    kept = {key: value for key, value in thing.items() if key not in {"apiVersion", "kind"}}
    meta = {k: v for k, v in thing["metadata"].items() if k not in {"name", "labels"}}
    labels = {k: v for k, v in thing["metadata"].get("labels", {}).items() if not _usual(k)}
    kept["metadata"] = {**meta, **({"labels": labels} if labels else {})}
    if thing["kind"] == "Secret":
        kept["data"] = dict.fromkeys(thing["data"], "(made at installation)")
    if thing["kind"] == "ConfigMap":
        kept["data"] = {name: _digest(text) for name, text in thing["data"].items()}
    return {key: value for key, value in kept.items() if value}


def _brief(value: Any) -> Any:
    """Without what every pod has; tests of their own are about that."""
    if isinstance(value, list):
        return [_brief(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "app.kubernetes.io/component" in value:
        others = {key: each for key, each in value.items() if not key.startswith("app.kubern")}
        named = "".join(f", {key}: {each}" for key, each in others.items())
        return f"({value['app.kubernetes.io/component']}{named})"
    gone = {"securityContext", "enableServiceLinks", "imagePullPolicy", "revisionHistoryLimit"}
    return {key: _brief(each) for key, each in value.items() if key not in gone}


def _usual(label: str) -> bool:
    return label.startswith(("app.kubernetes.io/", "helm.sh/")) and label != (
        "app.kubernetes.io/component"
    )


def _digest(text: str) -> Any:
    """A short text as it is; of a long one what tells that it is another."""
    if text.count("\n") < 4:
        return text
    return f"({text.count(chr(10))} lines, {hashlib.sha256(text.encode()).hexdigest()[:12]})"


def main() -> None:
    """Write the files."""
    GOLDEN.mkdir(exist_ok=True)
    for path, text in goldens().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
