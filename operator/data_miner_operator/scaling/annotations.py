"""What the annotations of a pool's Deployment say: the table, and how it is read.

A value that cannot be is replaced by its default and named as a problem: a mistake in one
annotation must not stop the workers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from data_miner.outside import shown
from data_miner.pipeline import NAMES, POOLS

PREFIX: Final = "data-miner.io/"
POOL_LABEL: Final = PREFIX + "pool"


class Autoscaler(StrEnum):
    """Who sets the number of replicas."""

    OPERATOR = "operator"
    HPA = "hpa"
    KEDA = "keda"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Number:
    """An annotation that is a whole number."""

    name: str
    default: int
    least: int
    most: int
    meaning: str


NUMBERS: Final = (
    Number("slots", 1, 1, 64, "Tasks that one worker of the pool runs at the same time."),
    Number("min-replicas", 0, 0, 1000, "Never fewer workers than this."),
    Number("max-replicas", 1, 0, 1000, "Never more workers than this."),
    Number(
        "warm-replicas", 0, 0, 1000,
        "Never fewer than this while an active project has work that will come to the pool.",
    ),
    Number(
        "target-drain-seconds", 600, 10, 86_400,
        "Time in which the work that is there shall be done: sets how many workers it needs.",
    ),
    Number(
        "scale-down-stabilization-seconds", 300, 0, 86_400,
        "The greatest need within this time decides when the pool shrinks.",
    ),
    Number(
        "step-seconds", 30, 1, 3600,
        "From one step down to the next; also the time in which a pool at most doubles.",
    ),
    Number(
        "idle-seconds", 600, 0, 86_400,
        "Time without any work before the last worker goes.",
    ),
    Number(
        "drain-timeout-seconds", 600, 0, 86_400,
        "How long a worker that shall go may finish what it holds; then its pod is stopped.",
    ),
    Number(
        "unschedulable-seconds", 60, 0, 86_400,
        "How long a pod may wait for a node before the pool counts as unschedulable. Longer than"
        " a new node takes, where a cluster autoscaler makes nodes.",
    ),
)  # fmt: skip

STAGES_MEANING: Final = (
    "What its workers run: `default` (every stage), `cpu`, `gpu`, or names of stages with commas."
)
AUTOSCALER_MEANING: Final = (
    "Who sets the replicas: the operator, or a HorizontalPodAutoscaler, KEDA, or nobody."
    " Then the operator only reports."
)


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What a pool may do. Bounded whatever the annotations say."""

    pool: str
    stages: tuple[str, ...]
    """In the order of the pipeline, at least one."""
    slots: int
    min_replicas: int
    max_replicas: int
    warm_replicas: int
    target_drain_seconds: int
    stabilization_seconds: int
    step_seconds: int
    idle_seconds: int
    drain_timeout_seconds: int
    unschedulable_seconds: int
    autoscaler: Autoscaler
    problems: tuple[str, ...] = ()
    """One line for each annotation that was not taken as it stands."""


def parse(pool: str, annotations: Mapping[str, str]) -> PoolSpec:
    """Read the annotations of the Deployment of `pool`; others than ours are passed over."""
    problems: list[str] = []
    numbers = {number.name: _number(number, annotations, problems) for number in NUMBERS}
    most = numbers["max-replicas"]
    for name in ("min-replicas", "warm-replicas"):
        if numbers[name] > most:
            problems.append(f"{PREFIX}{name}: {numbers[name]} is above max-replicas: {most} counts")
            numbers[name] = most
    return PoolSpec(
        pool=pool,
        stages=_stages(annotations, problems),
        slots=numbers["slots"],
        min_replicas=numbers["min-replicas"],
        max_replicas=most,
        warm_replicas=numbers["warm-replicas"],
        target_drain_seconds=numbers["target-drain-seconds"],
        stabilization_seconds=numbers["scale-down-stabilization-seconds"],
        step_seconds=numbers["step-seconds"],
        idle_seconds=numbers["idle-seconds"],
        drain_timeout_seconds=numbers["drain-timeout-seconds"],
        unschedulable_seconds=numbers["unschedulable-seconds"],
        autoscaler=_autoscaler(annotations, problems),
        problems=tuple(problems),
    )


def _number(number: Number, annotations: Mapping[str, str], problems: list[str]) -> int:
    given = annotations.get(PREFIX + number.name)
    if given is None:
        return number.default
    if re.fullmatch(r"[0-9]{1,9}", given) and number.least <= int(given) <= number.most:
        return int(given)
    problems.append(
        f"{PREFIX}{number.name}: {_quoted(given)} is no whole number from {number.least} to"
        f" {number.most}: {number.default} counts"
    )
    return number.default


def _stages(annotations: Mapping[str, str], problems: list[str]) -> tuple[str, ...]:
    given = annotations.get(PREFIX + "stages", "default")
    if given in POOLS:
        return POOLS[given]
    named = {name.strip() for name in given.split(",")} - {""}
    strange = sorted(named - set(NAMES))
    if not strange and named:
        return tuple(name for name in NAMES if name in named)
    what = _quoted(", ".join(strange)) if strange else "it is empty, which"
    problems.append(
        f"{PREFIX}stages: {what} is neither {', '.join(POOLS)} nor a stage: default counts"
    )
    return POOLS["default"]


def _autoscaler(annotations: Mapping[str, str], problems: list[str]) -> Autoscaler:
    given = annotations.get(PREFIX + "autoscaler", Autoscaler.OPERATOR)
    if given in list(Autoscaler):
        return Autoscaler(given)
    # Somebody wanted another one than the default: scaling against it would be worse than not.
    problems.append(
        f"{PREFIX}autoscaler: {_quoted(given)} is none of {', '.join(Autoscaler)}: none counts"
    )
    return Autoscaler.NONE


def _quoted(text: str) -> str:
    return f'"{shown(text)[:60]}"'
