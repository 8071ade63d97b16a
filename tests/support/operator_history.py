"""What may happen to an installation: histories out of a seed, and how to play and shorten one.

A step is plain data and depends on no other, so any part of a history is a history.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import text

from data_miner_operator.api import PROJECTS
from support.catalog import SPEC
from support.operator_fleet import POOLS
from support.operator_model import KEYS, MODELS, Town
from support.operator_replica import HERE, Fault

STEPS = 40


class Step(NamedTuple):
    """`name` is a function below; `go` are the seconds that pass afterwards, None for no look."""

    name: str
    given: dict[str, Any]
    go: float | None


def history(seed: int) -> tuple[Step, ...]:
    """Always the same for one seed."""
    pick = random.Random(seed)
    begun = [Step("create", _create(pick), pick.choice((0, 1, 6))) for _ in range(2)]
    if pick.random() < 0.3:
        owner = pick.choice((None, "installation-2"))
        begun.insert(0, Step("foreign", {"key": pick.choice(KEYS), "owner": owner}, None))
    names = [name for name, (weight, _) in STEPS_BY_NAME.items() for _ in range(weight)]
    return (*begun, *(_step(pick, pick.choice(names)) for _ in range(STEPS)))


def play(town: Town, steps: Sequence[Step]) -> list[str]:
    """Everything in its order, then quiet; returns what was wrong, until the first that was."""
    wrong = town.judge.violations
    for step in steps:
        globals()[step.name](town, **step.given)
        if step.go is not None:
            town.go(step.go)
        if wrong:
            return [*wrong, f"after {step}"]
    town.settle(0)
    wrong += town.judge.problems(town.replicas[0]) if not wrong else ()
    if not wrong:
        town.second_look(0)
    return wrong


def shortened(
    steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool], seconds: float = 120
) -> tuple[Step, ...]:
    """A history that still fails and from which no step can be left out, if the time suffices."""
    deadline = time.monotonic() + seconds
    left = tuple(steps)
    size = len(left) // 2
    while size:
        place = 0
        while place < len(left) and time.monotonic() < deadline:
            rest = (*left[:place], *left[place + size :])
            if fails(rest):
                left = rest
            else:
                place += size
        size //= 2
    return left


# What there is to choose from


def _spec(pick: random.Random) -> dict[str, Any]:
    """Mostly one that is valid."""
    changes: dict[str, Any] = {}
    if pick.random() < 0.4:
        changes["deletionPolicy"] = "Delete"
    if pick.random() < 0.15:
        changes["suspend"] = True
    if pick.random() < 0.4:
        changes["ttlSecondsAfterFinished"] = pick.choice((0, 20))
    if pick.random() < 0.2:
        changes["target"] = {"images": 3}
    if pick.random() < 0.3:
        changes["filter"] = {"model": "tiny-clip", "positive": ["a blue ball"]}
    if pick.random() < 0.2:
        urls = ["https://video.test/list", "https://video.test/more"]
        changes["sources"] = [{"urls": {"items": urls}}]
    if pick.random() < 0.15:
        changes |= pick.choice((
            {"sources": []},
            {"dedup": {"model": "tiny-dino", "threshold": 7}},
            {"priority": "high"},
        ))  # fmt: skip
    return {**SPEC, **changes}


def _said(pick: random.Random) -> dict[str, str]:
    found = {}
    if pick.random() < 0.3:
        found["adopt"] = "true"
    if pick.random() < 0.4:
        found["retry-failed"] = pick.choice(("1", "2"))
    if pick.random() < 0.15:
        found["reconcile"] = "disabled"
    return found


def _create(pick: random.Random) -> dict[str, Any]:
    said = _said(pick) if pick.random() < 0.3 else {}
    return {"key": pick.choice(KEYS), "spec": _spec(pick), "said": said}


def _key(pick: random.Random) -> dict[str, Any]:
    return {"key": pick.choice(KEYS)}


def _edit(pick: random.Random) -> dict[str, Any]:
    return {"key": pick.choice(KEYS), "spec": _spec(pick)}


def _annotate(pick: random.Random) -> dict[str, Any]:
    return {"key": pick.choice(KEYS), "said": _said(pick)}


def _meddle(pick: random.Random) -> dict[str, Any]:
    return {"key": pick.choice(KEYS), "column": pick.choice(("suspended", "applied_digest"))}


def _work(pick: random.Random) -> dict[str, Any]:
    how = pick.choice(("done", "done", "done", "failed", "throttled"))
    return {"how": how, "rounds": pick.choice((0, 5, 30, 60))}


def _resize(pick: random.Random) -> dict[str, Any]:
    return {"pool": pick.choice(sorted(POOLS)), "replicas": pick.randint(0, 5)}


def _pods(pick: random.Random) -> dict[str, Any]:
    return {"pool": pick.choice(sorted(POOLS)), "trouble": pick.choice(("", "pending", "crashing"))}


def _bound(pick: random.Random) -> dict[str, Any]:
    said = pick.choice((
        {"autoscaler": "hpa"}, {"autoscaler": "operator"}, {"min-replicas": "2"},
        {"min-replicas": "0"}, {"max-replicas": "2"}, {"max-replicas": "many"},
    ))  # fmt: skip
    return {"pool": pick.choice(sorted(POOLS)), "said": said}


def _model(pick: random.Random) -> dict[str, Any]:
    return {"name": pick.choice(MODELS), "there": pick.random() < 0.6}


def _strike(pick: random.Random) -> dict[str, Any]:
    fault = pick.choice(sorted(Fault))
    return {"replica": _leader(pick), "fault": str(fault), "points": pick.randint(0, 40)}


def _meanwhile(pick: random.Random) -> dict[str, Any]:
    act = pick.choice(("edit", "delete", "make_anew"))
    points = pick.randint(0, 25)
    return {"replica": _leader(pick), "points": points, "act": act, **_edit(pick)}


def _elect(pick: random.Random) -> dict[str, Any]:
    return {"replica": pick.randint(0, 1), "steps_down": pick.random() < 0.5}


def _misled(pick: random.Random) -> dict[str, Any]:
    return {"replica": pick.randint(0, 1), "how": pick.choice(("lag", "lose")), **_edit(pick)}


def _replica(pick: random.Random) -> dict[str, Any]:
    return {"replica": pick.randint(0, 1)}


def _leader(pick: random.Random) -> int:
    """The first one leads most of the time."""
    return int(pick.random() < 0.3)


def _up(pick: random.Random) -> dict[str, Any]:
    return {"up": pick.random() < 0.6}


def _watch(pick: random.Random) -> dict[str, Any]:
    how = pick.choice(("lag", "catch up", "lose", "twice", "swap", "gone"))
    return {"replica": _leader(pick), "how": how}


def _jump(pick: random.Random) -> dict[str, Any]:
    clock = pick.choice(("operator", "database", "server"))
    return {"clock": clock, "by": pick.choice((-600, -5, 5, 600))}


def _wait(pick: random.Random) -> dict[str, Any]:
    return {"seconds": pick.choice((3, 10, 30, 130))}


STEPS_BY_NAME: dict[str, tuple[int, Callable[[random.Random], dict[str, Any]]]] = {
    "create": (5, _create),
    "edit": (6, _edit),
    "annotate": (3, _annotate),
    "delete": (4, _key),
    "hold": (1, _key),
    "make_anew": (3, _edit),
    "misled": (4, _misled),
    "comment": (1, _key),
    "meddle": (2, _meddle),
    "work": (8, _work),
    "claim": (3, lambda pick: {}),
    "crash": (2, lambda pick: {}),
    "resize": (2, _resize),
    "pods": (3, _pods),
    "bound": (2, _bound),
    "model": (2, _model),
    "strike": (12, _strike),
    "meanwhile": (5, _meanwhile),
    "elect": (5, _elect),
    "wake": (4, _replica),
    "database": (4, _up),
    "api_server": (2, _up),
    "watch": (6, _watch),
    "jump": (3, _jump),
    "wait": (4, _wait),
}
"""How often each happens, and with what."""


def _step(pick: random.Random, name: str) -> Step:
    return Step(name, STEPS_BY_NAME[name][1](pick), pick.choice((None, 0, 1, 1, 6)))


# What happens


def foreign(town: Town, key: Any, owner: str | None) -> None:
    """The catalogue has a project of this name from another cluster or the command line."""
    statement = (
        "INSERT INTO projects (namespace, name, spec, owner_installation, owner_uid)"
        " VALUES (:s, :n, '{}', :o, CASE WHEN :o IS NULL THEN NULL ELSE 'elsewhere' END)"
    )
    with town.world.begin() as conn:
        conn.execute(text(statement), {"s": key[0], "n": key[1], "o": owner})


def create(town: Town, key: Any, spec: Any, said: Any) -> None:
    town.create(key, spec, said)


def edit(town: Town, key: Any, spec: Any) -> None:
    town.edit(key, spec)


def annotate(town: Town, key: Any, said: Any) -> None:
    town.annotate(key, said)


def delete(town: Town, key: Any) -> None:
    town.delete(key)


def hold(town: Town, key: Any) -> None:
    """Deleted, and held by somebody's finalizer."""
    town.finalize(key)
    town.delete(key)


def make_anew(town: Town, key: Any, spec: Any) -> None:
    town.delete(key)
    town.create(key, spec, {})


def misled(town: Town, replica: int, how: str, key: Any, spec: Any) -> None:
    """An object is made anew, and who takes over has not heard of it, or only of its end."""
    elect(town, 1 - replica, steps_down=True)
    if town.server.find(PROJECTS, key) is None:
        create(town, key, {**SPEC, "deletionPolicy": "Delete"}, {})
    town.disturb(replica, "catch up")
    town.go(1)
    town.disturb(replica, "lag")
    make_anew(town, key, spec)
    town.go(1)
    if how == "lose":
        del town.replicas[replica].feed[1:]
        town.disturb(replica, "catch up")
    elect(town, replica, steps_down=True)
    town.go(1)
    town.disturb(replica, "catch up")


def comment(town: Town, key: Any) -> None:
    town.comment(key)


def meddle(town: Town, key: Any, column: str) -> None:
    """Somebody writes to a row of ours by hand."""
    change = "suspended = NOT suspended" if column == "suspended" else "applied_digest = NULL"
    with town.world.begin() as conn:
        conn.execute(
            text(
                f"UPDATE projects SET {change} WHERE (namespace, name) = (:s, :n)"
                " AND owner_installation = :h AND owner_uid IS NOT NULL"
            ),
            {"s": key[0], "n": key[1], "h": HERE},
        )


def work(town: Town, how: str, rounds: int) -> None:
    if town.database:
        town.fleet.claim()
        town.fleet.finish(how)
        town.fleet.work(rounds)


def claim(town: Town) -> None:
    if town.database:
        town.fleet.claim()


def crash(town: Town) -> None:
    """All workers that hold something."""
    if town.database:
        town.fleet.crash()


def resize(town: Town, pool: str, replicas: int) -> None:
    town.resize(pool, replicas)


def pods(town: Town, pool: str, trouble: str) -> None:
    town.fleet.trouble[pool] = trouble


def bound(town: Town, pool: str, said: Any) -> None:
    town.bound(pool, said)


def model(town: Town, name: str, there: bool) -> None:
    (town.missing.discard if there else town.missing.add)(name)


def strike(town: Town, replica: int, fault: str, points: int) -> None:
    """At the n-th await of a replica from now."""
    town.plan(replica, points, Fault(fault))


def meanwhile(town: Town, replica: int, points: int, act: str, key: Any, spec: Any) -> None:
    """A user does something at the n-th await of a replica."""
    given = {"key": key} if act == "delete" else {"key": key, "spec": spec}
    town.plan(replica, points, lambda: globals()[act](town, **given))


def elect(town: Town, replica: int, steps_down: bool) -> None:
    """The other one may not have noticed that it does not lead any more."""
    if steps_down:
        town.replicas[1 - replica].step_down()
    town.replicas[replica].elect()


def wake(town: Town, replica: int) -> None:
    """What was frozen goes on, and what was under way arrives."""
    if town.database:
        town.replicas[replica].port.arrive()
    town.replicas[replica].port.thaw()


def database(town: Town, up: bool) -> None:
    (town.database_up if up else town.database_down)()


def api_server(town: Town, up: bool) -> None:
    town.server.away = not up


def watch(town: Town, replica: int, how: str) -> None:
    town.disturb(replica, how)


def jump(town: Town, clock: str, by: float) -> None:
    town.shifts[clock] = town.shifts.get(clock, 0.0) + by


def wait(town: Town, seconds: float) -> None:
    town.go(seconds)
    if town.database:
        town.fleet.house()


def said(steps: Sequence[Step]) -> Iterator[str]:
    """A history as lines."""
    for step in steps:
        given = ", ".join(f"{name}={value!r}" for name, value in step.given.items())
        yield f"{step.name}({given}); go {step.go}"
