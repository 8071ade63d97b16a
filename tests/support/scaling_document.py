"""What docs/scaling.md has from the code. `python -m support.scaling_document` writes it anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from data_miner_operator.scaling.annotations import (
    AUTOSCALER_MEANING,
    NUMBERS,
    PREFIX,
    STAGES_MEANING,
    Autoscaler,
)
from data_miner_operator.scaling.policy import BLOCKED, MEANINGS
from support.scaling_day import timeline

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
_PART = re.compile(r"(<!-- (\w+): [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)


def parts() -> Mapping[str, str]:
    """The written parts by name."""
    return {
        "annotations": annotations_table(),
        "reasons": reasons_table(),
        "day": f"```\n{timeline()}\n```\n",
    }


def annotations_table() -> str:
    others = ", ".join(f"`{name}`" for name in Autoscaler)
    rows = [
        f"| `{PREFIX}stages` | text | `default` | {STAGES_MEANING} |",
        *(
            f"| `{PREFIX}{n.name}` | {n.least} to {n.most} | `{n.default}` | {n.meaning} |"
            for n in NUMBERS
        ),
        f"| `{PREFIX}autoscaler` | {others} | `{Autoscaler.OPERATOR}` | {AUTOSCALER_MEANING} |",
    ]
    head = "| annotation | values | default | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def reasons_table() -> str:
    rows = [
        f"| {f'**{reason}**' if reason in BLOCKED else reason} | {meaning} |"
        for reason, meaning in MEANINGS.items()
    ]
    return "| reason | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"


def found(text: str) -> dict[str, str]:
    """The parts that the document has now, by name."""
    return {
        match[2]: match[0].removeprefix(match[1]).removesuffix(match[3])
        for match in _PART.finditer(text)
    }


def renewed(text: str, wanted: Mapping[str, str]) -> str:
    """The document with its parts written anew."""
    return _PART.sub(lambda match: match[1] + wanted[match[2]] + match[3], text)


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text("utf-8"), parts()), encoding="utf-8")
