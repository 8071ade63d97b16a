"""Expressions of Prometheus, put together from the few shapes that the dashboards need.

The operator's replicas are scraped one by one, and only the leader tells of projects. In the moment
when the office changes hands two of them may, so a project's series are always taken with `max by`
before anything is added up. Nothing is divided by zero: a divisor that is 0 leaves the answer out.
"""

from __future__ import annotations

from typing import Final

from data_miner.project_series import FAMILIES

PROJECTS: Final = 'namespace=~"$namespace",project=~"$project"'
WORKERS: Final = 'namespace=~"$namespace",pool=~"$pool"'
OPERATOR: Final = 'namespace=~"$namespace"'
RATE: Final = "$__rate_interval"
"""Grafana's own: four scrapes at least."""
PACE: Final = "10m"
"""Gauges of projects move in steps, when a pass has read them: their slope is taken over this. So
are means and quantiles, which of a few tasks would say little."""
_LABELS: Final = {family.name: family.labels for family in FAMILIES}


def select(metric: str, *matchers: str) -> str:
    """The series of a metric; empty matchers are left out."""
    found = ",".join(filter(None, matchers))
    return f"{metric}{{{found}}}" if found else metric


def has(label: str, value: str) -> str:
    """A matcher for one value."""
    return f'{label}="{value}"'


def among(label: str, values: str) -> str:
    """A matcher for values, which a bar separates."""
    return f'{label}=~"{values}"'


def of_projects(metric: str, *labels: str, where: str = "", ago: str = "") -> str:
    """A project's gauge, by project and by `labels`, told by whoever is the leader."""
    before = f" offset {ago}" if ago else ""
    by = ", ".join(("namespace", "project", *labels))
    return f"max by ({by}) ({select(metric, PROJECTS, where)}{before})"


def over_projects(metric: str, *by: str, where: str = "", ago: str = "") -> str:
    """A project's gauge, added up over everything but `by`."""
    return added_up(of_projects(metric, *_LABELS[metric], where=where, ago=ago), *by)


def added_up(expression: str, *by: str) -> str:
    """The sum, by these labels; without any over everything."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def slope(metric: str, where: str = "") -> str:
    """How fast a project's gauge grows, a second; what falls counts as standing still."""
    grows = f"deriv({select(metric, PROJECTS, where)}[{PACE}])"
    return f"clamp_min(max by (namespace, project) ({grows}), 0)"


def rate(metric: str, *by: str, where: str = "", of: str = WORKERS, window: str = RATE) -> str:
    """How fast a counter grows, a second, over all processes; a restart is no fall."""
    return added_up(f"rate({select(metric, of, where)}[{window}])", *by)


def quantile(share: float, histogram: str, *by: str, where: str = "", of: str = WORKERS) -> str:
    """A quantile of what a histogram counted of late, over all processes."""
    counted = rate(f"{histogram}_bucket", "le", *by, where=where, of=of, window=PACE)
    return f"histogram_quantile({share}, {counted})"


def mean(histogram: str, *by: str, of: str = WORKERS) -> str:
    """The mean of what a histogram counted of late; absent when it counted nothing."""
    summed = rate(f"{histogram}_sum", *by, of=of, window=PACE)
    return ratio(summed, rate(f"{histogram}_count", *by, of=of, window=PACE))


def ratio(part: str, whole: str) -> str:
    """A quotient; absent where the divisor is 0."""
    return f"{part} / ({whole} > 0)"


def per_kept_image(cost: str, *by: str) -> str:
    """A cost, by labels, over the images that the chosen projects keep; absent without any."""
    kept = over_projects("dataminer_project_images", where='kind="kept"')
    matching = " on () group_left ()" if by else ""
    return f"{cost} /{matching} ({kept} > 0)"
