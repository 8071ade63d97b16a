"""Keeps a status small: what matters least goes first, until it fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from data_miner_operator.reconcile.wording import cut

LIMIT_BYTES: Final = 2048
_CALM: Final = {"Throttled": "False", "Suspended": "False", "Complete": "False"}
"""The status that is no trouble, of the conditions for which that is not True."""
_ESCAPED: Final = frozenset("<>&\u2028\u2029")
"""Written as six ASCII characters by the JSON encoder of Kubernetes."""

Fields = dict[str, Any]


def size(status: Mapping[str, Any]) -> int:
    """Bytes of the status as an API server writes it: compact JSON in UTF-8."""
    text = json.dumps(status, separators=(",", ":"), ensure_ascii=False)
    escaped = sum(6 - len(c.encode()) for c in text if c in _ESCAPED)
    return len(text.encode(errors="replace")) + escaped


def fit(status: Fields) -> Fields:
    """The status itself if it is small enough; otherwise one without what it can best do without.

    Conditions, phase, reason and numbers of images always stay.
    """
    for make_smaller in _STEPS:
        if size(status) <= LIMIT_BYTES:
            break
        status = make_smaller(status)
    return status


def _without(*names: str) -> Callable[[Fields], Fields]:
    return lambda status: {name: value for name, value in status.items() if name not in names}


def _messages(
    limit_bytes: int, *, spare: frozenset[str] = frozenset()
) -> Callable[[Fields], Fields]:
    """Cuts the messages of all conditions but those to be spared."""

    def shorter(condition: Fields) -> Fields:
        if condition["type"] in spare:
            return condition
        return {**condition, "message": cut(condition["message"], limit_bytes)}

    return lambda status: {**status, "conditions": [shorter(c) for c in status["conditions"]]}


def _calm(status: Fields) -> Fields:
    """Without the messages of conditions that are as they should be."""

    def quiet(condition: Fields) -> Fields:
        calm = condition["status"] == _CALM.get(condition["type"], "True")
        ready = condition["type"] in ("Ready", "Reconciling", "Stalled")
        return {**condition, "message": ""} if calm and not ready else condition

    return {**status, "conditions": [quiet(c) for c in status["conditions"]]}


def _uri(limit_bytes: int) -> Callable[[Fields], Fields]:
    def shorter(status: Fields) -> Fields:
        dataset = status.get("dataset")
        if not isinstance(dataset, Mapping) or "uri" not in dataset:
            return status
        uri = cut(str(dataset["uri"]), limit_bytes)
        rest = {name: value for name, value in dataset.items() if name != "uri"}
        return {**status, "dataset": {**rest, "uri": uri} if uri else rest}

    return shorter


def _stages(status: Fields, stages: list[Fields]) -> Fields:
    rest = {name: value for name, value in status.items() if name != "stages"}
    return {**rest, "stages": stages} if stages else rest


def _live(stage: Mapping[str, Any]) -> int:
    return sum(int(stage.get(name, 0)) for name in ("running", "ready", "waiting", "failed"))


def _open_stages(status: Fields) -> Fields:
    """Without the stages in which nothing is left to do and nothing has failed."""
    return _stages(status, [stage for stage in status.get("stages", ()) if _live(stage)])


def _stages_without(number: str) -> Callable[[Fields], Fields]:
    """Without one of the numbers of every stage."""
    return lambda status: _stages(
        status,
        [
            {name: value for name, value in stage.items() if name != number}
            for stage in status.get("stages", ())
        ],
    )


def _busiest(status: Fields) -> Fields:
    """With only as many stages as fit, those that have the most to do."""
    stages = list(status.get("stages", ()))
    while stages and size(_stages(status, stages)) > LIMIT_BYTES:
        stages.remove(min(stages, key=_live))
    return _stages(status, stages)


_STEPS: Final[tuple[Callable[[Fields], Fields], ...]] = (
    _calm,
    _messages(200),
    _uri(200),
    _without("videos"),
    _stages_without("skipped"),
    _open_stages,
    _stages_without("done"),
    _without("funnel"),
    _messages(120, spare=frozenset(("Ready",))),
    _busiest,
    _messages(60, spare=frozenset(("Ready",))),
    _messages(0, spare=frozenset(("Ready",))),
    _uri(0),
    _messages(100),
    _without("retried", "dataset", "eta"),
    _messages(0),
)
"""In the order in which they are tried, each on what the one before has left."""
