"""Any history of queue and planner, compared with the model after every step."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from data_miner import queue
from data_miner.db.tables import metadata
from data_miner.pipeline import NAMES, upstream
from data_miner.queue import Beat, Cursor
from support.queue import World
from support.queue_machine import LEASE_SECONDS, LONG, MAX_LOSSES, VIDEOS, WORKERS, Moves
from support.queue_model import STAGE_SETS, Project, Task


class QueueMachine(Moves):
    """Workers who do everything that workers do, and users who change their minds."""

    # Projects

    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        """An empty database with one project in it."""
        tables = ", ".join(t.name for t in metadata.sorted_tables if t.name != "clock")
        with self.engine.begin() as c:
            c.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
            c.execute(text("UPDATE clock SET shift = '0'"))
        self.add_project(seed)
        self.work(WORKERS[0], seed % 60, ["done"])

    @precondition(lambda self: len(self.model.projects) < 3)
    @rule(seed=st.integers(0, 2**32))
    def add_project(self, seed: int) -> None:
        """A project that shares videos and recipes with the others."""
        pick = random.Random(seed)
        stages = pick.choice(STAGE_SETS)
        found = [pick.sample(VIDEOS, pick.randint(0, 7)) for _ in range(pick.randint(1, 2))]
        target = pick.choice((None, None, 1, 3))
        priority = pick.choice((0, 0, 1))
        project = self.world.project(
            f"project {seed} {len(self.model.projects)}",
            stages=stages,
            found=found,
            target_images=target,
            priority=priority,
        )
        self.model.projects[project] = Project(
            recipes=self.recipes(project),
            reads={s: upstream(s, frozenset(stages)) for s in stages},
            sources=len(found),
            found=found,
            target=target,
            priority=priority,
        )
        self.world.plan(project)
        self.settle()

    @rule(data=st.data(), change=st.sampled_from(("filter", "sampling", "sources")))
    def change_spec(self, data: st.DataObject, change: str) -> None:
        """New prompts, new sampling, or new sources: then waves begin anew."""
        project, p = self.any_project(data)
        variant = data.draw(st.sampled_from(("", "one", "two")), "variant")
        variants = self.variants.setdefault(project, {})
        if change == "sources":
            p.found = [data.draw(st.lists(st.sampled_from(VIDEOS), unique=True, max_size=6))]
            p.sources = 1
            self.world.found[project, 0] = p.found[0]
            variants["discover"] = str(p.found)
        else:
            variants["filter" if change == "filter" else "extract"] = variant
        self.world.compile(project, tuple(p.recipes), p.sources, variants)
        if self.recipes(project)["discover"] != p.recipes["discover"]:
            self.world.update(project, wave_epoch=1 + self.epochs.get(project, 1))
            self.epochs[project] = 1 + self.epochs.get(project, 1)
            p.waves = []
        p.recipes = self.recipes(project)
        self.world.plan(project)
        self.reconcile()

    @rule(data=st.data(), priority=st.integers(-1, 2))
    def change_priority(self, data: st.DataObject, priority: int) -> None:
        project, p = self.any_project(data)
        p.priority = priority
        self.world.update(project, priority=priority)
        self.reconcile()

    @rule(data=st.data())
    def suspend_or_resume(self, data: st.DataObject) -> None:
        project, p = self.any_project(data)
        p.suspended = not p.suspended
        self.world.update(project, suspended=p.suspended)
        self.world.plan(project)
        self.reconcile()

    @precondition(lambda self: len(self.model.projects) > 1)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        project, _ = self.any_project(data)
        del self.model.projects[project]
        with self.engine.begin() as c:
            c.execute(
                text("UPDATE projects SET deleted_at = dataminer_now() WHERE project_id = :p"),
                {"p": project},
            )
        self.reconcile()

    # Workers

    @rule(
        worker=st.sampled_from(WORKERS),
        stages=st.lists(st.sampled_from(NAMES), unique=True, max_size=4),
        limit=st.integers(1, 4),
    )
    def claim(self, worker: str, stages: list[str], limit: int) -> None:
        """No more than the limit, only what is ready, the most urgent of each project."""
        serves = tuple(stages) or NAMES
        self.promote()
        before = self.claimable(serves)
        taken = self.world.claim(
            *serves,
            limit=limit,
            worker=worker,
            cursor=self.cursors[worker],
            lease_seconds=LEASE_SECONDS,
        )
        assert len(taken) == min(limit, len(before))
        for task in taken:
            assert (task.recipe_id, task.subject) in before
        for stage, project in {(t.stage, t.project_id) for t in taken}:
            ours = sorted(t.id for t in taken if (t.stage, t.project_id) == (stage, project))
            ranked = sorted(
                (v for v in before.values() if (v["stage"], v["project_id"]) == (stage, project)),
                key=lambda v: (-v["priority"], v["id"]),
            )
            assert ours == sorted(v["id"] for v in ranked[: len(ours)])
        self.taken(worker, taken)

    @rule(worker=st.sampled_from(WORKERS))
    def claim_suspect(self, worker: str) -> None:
        """Only to a worker that holds nothing, and only one."""
        self.promote()
        suspects = self.claimable(NAMES, suspect=True)
        busy = any(t.holder == worker for t in self.model.tasks.values())
        with self.engine.begin() as c:
            task = queue.claim_suspect(
                c, stages=NAMES, worker_id=worker, lease_seconds=LEASE_SECONDS
            )
        assert (task is not None) == (bool(suspects) and not busy)
        if task:
            self.taken(worker, [task])

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(("done", "done", "done", "empty", "skipped")))
    def finish(self, data: st.DataObject, outcome: str) -> None:
        """Some tasks at once, perhaps some that are not ours any more."""
        some = data.draw(
            st.lists(
                st.sampled_from(self.held), min_size=1, max_size=3, unique_by=lambda h: h[1].id
            )
        )
        self.end(some, outcome)

    @rule(
        worker=st.sampled_from(WORKERS),
        rounds=st.integers(1, 25),
        outcomes=st.lists(
            st.sampled_from(("done", "done", "done", "done", "empty", "skipped", "failed")),
            min_size=1,
            max_size=9,
        ),
    )
    def work(self, worker: str, rounds: int, outcomes: list[str]) -> None:
        """What a worker does all day: claim, end, claim again."""
        for turn in range(rounds):
            self.promote()
            tasks = self.world.claim(
                limit=2, worker=worker, cursor=self.cursors[worker], lease_seconds=LEASE_SECONDS
            )
            self.taken(worker, tasks)
            outcome = outcomes[turn % len(outcomes)]
            if not tasks:
                break
            if outcome == "failed":
                # Not a discovery: then nothing would follow.
                for task in [t for t in tasks if t.stage != "discover"]:
                    self.break_down(worker, task, permanent=True)
                tasks = [t for t in tasks if t.stage == "discover"]
                outcome = "done"
            self.end([(worker, task) for task in tasks], outcome)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), permanent=st.booleans())
    def fail(self, data: st.DataObject, permanent: bool) -> None:
        worker, task = data.draw(st.sampled_from(self.held))
        self.break_down(worker, task, permanent=permanent)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def put_off(self, data: st.DataObject) -> None:
        worker, task = data.draw(st.sampled_from(self.held))
        with self.engine.begin() as c:
            put = queue.later(c, task, seconds=60, error_class="throttled", reason="429")
        assert put == self.owns(worker, task)
        if put:
            live = self.model.tasks[task.recipe_id, task.subject]
            live.state, live.holder, live.overdue = "waiting", None, False

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        worker, task = data.draw(st.sampled_from(self.held))
        with self.engine.begin() as c:
            given = queue.hand_back(c, [(task.id, task.claim_seq)])
        assert given == ({task.id} if self.owns(worker, task) else set())
        if given:
            live = self.model.tasks[task.recipe_id, task.subject]
            live.state, live.holder = "ready", None

    @precondition(lambda self: self.held)
    @rule()
    def extend(self) -> None:
        """One statement for everything ever held: only what is still held comes back."""
        beats = [Beat(t.id, t.claim_seq, 0.5) for _, t in self.held]
        with self.engine.begin() as c:
            ours = queue.extend(c, beats, lease_seconds=LEASE_SECONDS)
        assert ours == {t.id for w, t in self.held if self.owns(w, t)}
        for task in self.model.tasks.values():
            task.overdue = task.overdue and task.state != "running"

    @rule()
    def time_passes(self) -> None:
        self.world.advance(LONG)
        for task in self.model.tasks.values():
            task.overdue = task.state in {"waiting", "running"}

    @rule()
    def rescue(self) -> None:
        """Each expired lease costs its task one loss, and no attempt."""
        expired = [t for t in self.model.tasks.values() if t.state == "running" and t.overdue]
        assert len(self.world.rescue(max_losses=MAX_LOSSES)) == len(expired)
        for task in expired:
            task.lost += 1
            task.state = "failed" if task.lost >= MAX_LOSSES else "waiting"
            task.holder, task.overdue = None, False
        self.settle()

    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(1, 3))
    def vanish(self, worker: str, limit: int) -> None:
        """A worker takes tasks and is not heard of again."""
        self.promote()
        self.taken(
            worker,
            self.world.claim(
                limit=limit, worker=worker, cursor=Cursor(), lease_seconds=LEASE_SECONDS
            ),
        )
        self.time_passes()
        self.rescue()

    @rule()
    def retry(self) -> None:
        """All dead letters again; members of gathered waves leave these first, as they must."""
        dead = [k for k, t in self.model.tasks.items() if t.state == "failed"]
        for project, p in self.model.projects.items():
            for wave in p.waves:
                subject = f"w{wave.wave_id}"
                if not (
                    self.model.result(p, "dedup", subject) or self.model.task(p, "dedup", subject)
                ):
                    continue
                left = [v for v in wave.members if any((r, v) in dead for r in p.recipes.values())]
                with self.engine.begin() as c:
                    c.execute(
                        text(
                            "UPDATE project_videos SET wave_id = NULL, wave_position = NULL"
                            " WHERE project_id = :p AND video_id = ANY (:v)"
                        ),
                        {"p": project, "v": left},
                    )
                wave.members = [v for v in wave.members if v not in left]
        with self.engine.begin() as c:
            ids = {
                (r.recipe_id, r.subject): r.id
                for r in c.execute(text("SELECT id, recipe_id, subject FROM tasks"))
            }
            assert queue.retry(c, [ids[k] for k in dead]) == {ids[k] for k in dead}
        for key in dead:
            self.model.tasks[key].state = "ready"
            self.model.tasks[key].attempt = self.model.tasks[key].lost = 0
        self.reconcile()

    # What holds after every step

    @invariant()
    def tasks_and_results_are_the_models(self) -> None:
        """Nothing is lost, nothing is there twice, budgets and owners are exact."""
        found = {
            (r["recipe_id"], r["subject"]): Task(
                r["stage"],
                r["video_id"],
                r["wave_id"],
                r["state"],
                r["claim_seq"],
                r["attempt"],
                r["lost_count"],
                r["claimed_by"],
            )
            for r in self.world.rows("SELECT * FROM tasks")
        }
        expected = {
            k: Task(t.stage, t.video, t.wave, t.state, t.seq, t.attempt, t.lost, t.holder)
            for k, t in self.model.tasks.items()
        }
        assert found == expected
        results = {
            (r["recipe_id"], r["subject"]): (r["stage"], r["outcome"], r["frames"])
            for r in self.world.rows("SELECT * FROM results")
        }
        assert results == {k: (r.stage, r.outcome, r.frames) for k, r in self.model.results.items()}

    @invariant()
    def a_sweep_has_nothing_to_do(self) -> None:
        """Only sponsors may change: whoever is the most urgent now."""
        swept = self.world.sweep()
        assert (swept.planned, swept.waves, swept.cancelled, swept.settled) == ({}, 0, 0, 0)
        sponsors = {
            (r["recipe_id"], r["subject"]): r["project_id"]
            for r in self.world.rows("SELECT recipe_id, subject, project_id FROM tasks")
        }
        assert sponsors == {key: self.model.sponsor(key) for key in self.model.tasks}

    @invariant()
    def no_wave_should_be_open_that_is_not(self) -> None:
        assert not [i for i, p in self.model.projects.items() if self.model.admission_due(p)]

    @invariant()
    def views_equal_a_recount(self) -> None:
        """Every status and count that the views give is what the model counts."""
        for row in self.world.rows("SELECT video_id, status FROM video_status"):
            assert row["status"] == self.model.video_status(row["video_id"]), row
        for row in self.world.rows("SELECT * FROM project_video_status"):
            if p := self.model.projects.get(row["project_id"]):
                assert row["status"] == self.model.project_video_status(p, row["video_id"]), row
        rows = self.world.rows("SELECT * FROM project_status")
        assert {r["project_id"] for r in rows} == set(self.model.projects)
        for row in rows:
            p = self.model.projects[row["project_id"]]
            counts = self.model.project_counts(p)
            assert {k: row[k] for k in counts} == counts
            assert row["project_stage"] == self.model.project_stage(p)


def test_any_history_is_what_the_model_says(world: World) -> None:
    """Claims, ends, losses, changed specs and suspensions, in any order, are as modelled."""
    QueueMachine.engine = world.engine
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=24,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
