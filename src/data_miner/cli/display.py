"""What a person sees while a project is mined, and when it is done."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from data_miner.catalog.counts import StageCount
from data_miner.catalog.progress import Progress
from data_miner.cli.words import amount, dataset_folder, duration, size
from data_miner.settings import Settings

LINE_SECONDS = 2.0
"""Shortest pause between two lines where there is no terminal."""
UNKNOWN = "–"  # noqa: RUF001  # a dash, where a hyphen would look like a minus
"""How many there will be is not known yet."""


@contextlib.contextmanager
def progress_display(name: str, *, as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar for each stage on a terminal, plain lines elsewhere; nothing with JSON."""
    if as_json:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bars(name) as observe:
            yield observe
    else:
        yield _Lines(name)


class _PutOff:
    """Says once what is in the way of work that waits: a full disk must not look like idling."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name = name
        self.say = say
        self.said: set[tuple[str, str]] = set()

    def __call__(self, state: Progress) -> None:
        for one in state.put_off:
            if (one.stage, one.error_class) not in self.said:
                self.said.add((one.stage, one.error_class))
                self.say(f"{self.name}: put off: {one.stage} {one.error_class}: {one.error}")


class _Titled(Bars):
    title = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield Text(self.title, style="bold")
        yield from super().get_renderables()


@contextlib.contextmanager
def _bars(name: str) -> Iterator[Callable[[Progress], None]]:
    console = Console(stderr=True)
    bars = _Titled(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=32),
        TextColumn("{task.fields[count]:>13}"),
        TextColumn(" {task.fields[now]}", style="dim"),
        console=console,
        transient=True,
    )
    bars.title = name
    tasks: dict[str, TaskID] = {}

    put_off = _PutOff(name, lambda line: bars.console.print(Text(line, "yellow"), soft_wrap=True))

    def observe(state: Progress) -> None:
        put_off(state)
        for stage in state.stages:
            if stage.stage not in tasks:
                tasks[stage.stage] = bars.add_task(stage.stage, total=1, count="", now="")
            ended = stage.done + stage.skipped + stage.failed
            total = max(stage.total, ended)
            bars.update(
                tasks[stage.stage],
                completed=ended,
                total=max(total, 1),
                count=f"{amount(ended)} / {amount(total)}" if total else UNKNOWN,
                now=stage_now(stage),
            )

    with bars:
        yield observe


def stage_now(stage: StageCount, *, moving: bool = True) -> str:
    """What a stage does at the moment, in a few words; no time is left where nothing moves."""
    parts = []
    if stage.running:
        parts.append(f"{stage.running} running")
    if stage.waiting:
        parts.append(f"{stage.waiting} put off")
    if stage.failed:
        parts.append(f"{stage.failed} failed")
    if moving and stage.left and stage.eta_seconds:
        parts.append(f"about {duration(max(1, stage.eta_seconds))} left")
    return ", ".join(parts)


class _Lines:
    """One line when something has changed, not more often than every few seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said = ""
        self.at = 0.0
        self.put_off = _PutOff(name, self._say)

    def __call__(self, state: Progress) -> None:
        self.put_off(state)
        line = "  ".join(
            f"{s.stage} {s.done + s.skipped}/{s.total}"
            + (f" ({s.failed} failed)" if s.failed else "")
            for s in state.stages
            if s.total
        )
        pause = 0 if state.phase.name == "Complete" else LINE_SECONDS
        if line != self.said and time.monotonic() - self.at >= pause:
            self.said, self.at = line, time.monotonic()
            self._say(f"{self.name}: {line}")

    def _say(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def summary(state: Progress, settings: Settings, *, worked: bool) -> None:
    """How it ended: the funnel, what it cost, where the dataset is."""
    console = Console(highlight=False)
    say = partial(console.print, soft_wrap=True, markup=False)
    style = "green" if state.phase.name == "Complete" else "yellow"
    if not worked and state.phase.name == "Complete":
        say(f"{state.name}: nothing to do, all of it is done already")
    console.print(Text(f"{state.name}: {state.phase.message}", style=style))
    console.print(funnel_table(state))
    if state.costs_per_image:
        each = state.costs_per_image
        console.print(
            f"per kept image: {size(each.get('bytes_downloaded', 0))} fetched,"
            f" {each.get('cpu_seconds', 0):.2f} CPU-seconds"
        )
    for failure in state.failures:
        console.print(
            Text(f"{failure.count}x {failure.stage} {failure.error_class}: {failure.error}", "red"),
            soft_wrap=True,
        )
    for part in state.skipped:
        console.print(
            Text(
                f"{part.count}x {part.stage} skipped: {part.subject}: {part.message}",
                "yellow",
            ),
            soft_wrap=True,
        )
    if state.dataset is not None and state.phase.name == "Complete":
        folder = dataset_folder(state.dataset.uri)
        say(f"dataset: {folder} (version {state.dataset.version}, {state.dataset.digest[:16]})")
        say(f"report:  {folder}/report.html")
    if state.failures:
        say(f"logs:    {settings.home / 'logs'}")
        if state.phase.name == "Complete":
            say(f"`data-miner retry {state.name}` and another run try again what has failed")
    if state.phase.name == "Suspended":
        say(f"`data-miner resume {state.name}` and another run go on with it")


def funnel_table(state: Progress) -> Table:
    """The funnel as one row of numbers under their names."""
    steps = (
        ("videos", state.funnel.found),
        ("selected", state.funnel.selected),
        ("fetched", state.funnel.downloaded),
        ("frames", state.funnel.frames),
        ("passed", state.funnel.passed),
        ("unique", state.funnel.unique),
        ("labelled", state.funnel.labelled),
        ("exported", state.funnel.exported),
    )
    table = Table(box=None, pad_edge=False)
    for name, _ in steps:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*(amount(value) for _, value in steps))
    return table
