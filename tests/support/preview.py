"""The dashboards without Grafana: every query is asked, and each page is one HTML file.

    PYTHONPATH=tests python -m support.preview http://127.0.0.1:9090 out/dashboards --minutes 60

For the eye and for pictures in documents. What is drawn is what Prometheus answers and nothing
else; where Grafana would look a little different, the page says that it is a preview.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

from support.dashboards import ALL, DASHBOARDS, Json, boards
from support.preview_panels import View, panel_html
from support.prometheus import Prometheus

_STYLE: Final = Path(__file__).with_name("preview_style.css")
_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style>
<main><header><h1>{title}</h1><span>{span}</span>
<span class="note">preview, rendered without Grafana</span></header>
<div class="grid">
{panels}
</div></main></html>
"""


def pages(
    prometheus: Prometheus,
    *,
    seconds: float,
    until: float | None = None,
    scrape_seconds: float = 15.0,
    chosen: Mapping[str, str] = ALL,
    folder: Path = DASHBOARDS,
) -> dict[str, str]:
    """A page for each dashboard by its name, of the last `seconds` before `until` (Unix time).

    Raises PrometheusError for a query that it does not answer.
    """
    end = time.time() if until is None else until
    view = View(prometheus, end - seconds, end, scrape_seconds, chosen)
    return {name: page(board, view) for name, board in boards(folder).items()}


def page(board: Json, view: View) -> str:
    """One dashboard, with nothing from elsewhere."""
    begin, end = (datetime.fromtimestamp(at, UTC) for at in (view.begin, view.end))
    shape = "%H:%M:%S" if view.end - view.begin < 600 else "%H:%M"
    return _PAGE.format(
        title=escape(board["title"]),
        style=_STYLE.read_text(),
        span=f"{begin:%Y-%m-%d {shape}} to {end:{shape}} UTC",
        panels="\n".join(panel_html(panel, view) for panel in board["panels"]),
    )


def main() -> None:
    """Write the pages into a folder."""
    parser = argparse.ArgumentParser(description="Render the dashboards without Grafana.")
    parser.add_argument("address", help="of Prometheus, as http://127.0.0.1:9090")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--until", type=float, help="Unix time; now when left out")
    parser.add_argument("--scrape-seconds", type=float, default=15.0)
    parser.add_argument("--namespace", default=ALL["namespace"])
    parser.add_argument("--project", default=ALL["project"])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = pages(
        Prometheus(given.out, address=given.address.rstrip("/")),
        seconds=given.minutes * 60,
        until=given.until,
        scrape_seconds=given.scrape_seconds,
        chosen={**ALL, "namespace": given.namespace, "project": given.project},
    )
    for name, text in found.items():
        (given.out / f"{name}.html").write_text(text)


if __name__ == "__main__":
    main()
