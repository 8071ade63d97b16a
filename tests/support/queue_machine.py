"""The moves of a history: each is done to the queue and to the model, and compared."""

from __future__ import annotations

from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from data_miner import queue
from data_miner.queue import Claimed, Cursor
from support.queue import FIRST_WAVE, World
from support.queue_model import Model, Project, Result, Wave

VIDEOS = "abcdefghijkl"
WORKERS = ("ann", "bob", "cyd")
LEASE_SECONDS = 1000
LONG = 5000
"""Longer than any lease and any delay: whatever can be due is due then."""
MAX_ATTEMPTS = 2
MAX_LOSSES = 4


class Moves(RuleBasedStateMachine):
    """What the rules of the machine are made of."""

    engine: Any

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.engine)
        self.model = Model()
        self.held: list[tuple[str, Claimed]] = []
        """Every token ever handed out, also those that have been taken away since."""
        self.cursors = {worker: Cursor() for worker in WORKERS}
        self.variants: dict[int, dict[str, str]] = {}
        self.epochs: dict[int, int] = {}

    def end(self, some: list[tuple[str, Claimed]], outcome: str) -> None:
        """Finish tasks, ours or not; the model learns of those that are."""
        ends = []
        for _, task in some:
            if outcome == "skipped":
                ends.append(self.world.skip(task))
            elif outcome == "empty" and task.stage not in {"discover", "download"}:
                ends.append(self.world.done(task, frames=0, kept_by_video={}))
            else:
                ends.append(self.world.done(task))
        ours = {task.id for worker, task in some if self.owns(worker, task)}
        assert self.world.finish(*ends) == ours
        for task, finished in ends:
            if task.id not in ours:
                continue
            key = (task.recipe_id, task.subject)
            assert key not in self.model.results
            del self.model.tasks[key]
            facts = finished.facts
            self.model.results[key] = Result(
                stage=task.stage,
                outcome="done" if finished.reason is None else "skipped",
                frames=facts.get("frames"),
                video=task.video_id,
                wave=task.wave_id,
                kept=dict(facts.get("kept_by_video", {})),
            )
            if task.stage == "discover" and task.project_id in self.model.projects:
                p = self.model.projects[task.project_id]
                p.known |= set(self.world.found[task.project_id, int(task.subject[-1])])
        self.settle()

    def break_down(self, worker: str, task: Claimed, *, permanent: bool) -> None:
        """Fail a task, ours or not."""
        state = self.world.fail(task, permanent=permanent, max_attempts=MAX_ATTEMPTS)
        if not self.owns(worker, task):
            assert state is None
            return
        live = self.model.tasks[task.recipe_id, task.subject]
        live.attempt += 1
        dead = permanent or live.attempt >= MAX_ATTEMPTS
        live.state, live.holder, live.overdue = ("failed" if dead else "waiting"), None, False
        assert state == live.state
        self.settle()

    def any_project(self, data: st.DataObject) -> tuple[int, Project]:
        project = data.draw(st.sampled_from(sorted(self.model.projects)), "project")
        return project, self.model.projects[project]

    def recipes(self, project: int) -> dict[str, int]:
        rows = self.world.rows(
            "SELECT stage, recipe_id FROM project_stages WHERE project_id = :p", p=project
        )
        return {r["stage"]: r["recipe_id"] for r in rows}

    def owns(self, worker: str, task: Claimed) -> bool:
        live = self.model.tasks.get((task.recipe_id, task.subject))
        return live is not None and (live.holder, live.seq) == (worker, task.claim_seq)

    def taken(self, worker: str, tasks: list[Claimed]) -> None:
        for task in tasks:
            live = self.model.tasks[task.recipe_id, task.subject]
            live.seq += 1
            live.state, live.holder, live.overdue = "running", worker, False
            assert task.claim_seq == live.seq
            self.held.append((worker, task))
        self.settle()

    def promote(self) -> None:
        """What the claim does first: due work becomes ready."""
        for task in self.model.tasks.values():
            if task.state == "waiting" and task.overdue:
                task.state, task.overdue = "ready", False

    def claimable(
        self, stages: tuple[str, ...], suspect: bool = False
    ) -> dict[tuple[int, str], dict[str, Any]]:
        rows = {(r["recipe_id"], r["subject"]): r for r in self.world.rows("SELECT * FROM tasks")}
        return {
            key: rows[key]
            for key, t in self.model.tasks.items()
            if t.state == "ready"
            and t.stage in stages
            and (t.lost >= 2) == suspect
            and not self.model.projects[rows[key]["project_id"]].suspended
        }

    def reconcile(self) -> None:
        """After a change of mind: one sweep mends everything, and the model does the same."""
        self.world.sweep()
        self.model.cancel()
        self.settle()

    def settle(self) -> None:
        """What an idle worker does, and the model after it: check and adopt the waves it opened."""
        with self.engine.begin() as c:
            queue.admit(c, first_wave=FIRST_WAVE)
        self.model.plan()
        rows = self.world.rows(
            "SELECT w.project_id, w.wave_id, w.n, array_agg(m.video_id ORDER BY m.wave_position)"
            " AS members FROM waves w JOIN projects p ON p.project_id = w.project_id"
            " AND p.wave_epoch = w.epoch LEFT JOIN project_videos m ON m.wave_id = w.wave_id"
            " GROUP BY w.wave_id ORDER BY w.project_id, w.n"
        )
        for row in rows:
            p = self.model.projects.get(row["project_id"])
            if p is None or row["n"] <= len(p.waves):
                continue
            assert row["n"] == len(p.waves) + 1
            assert row["members"] == self.model.next_members(p)
            assert p.target is None or self.model.images(p, p.waves) < p.target
            p.waves.append(Wave(row["wave_id"], row["members"]))
            note(f"project {row['project_id']} wave {row['n']}: {row['members']}")
        self.model.plan()
        self.model.cancel()
