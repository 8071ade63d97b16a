"""What the queue and the planner should be, in plain Python, as small as it can be said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from data_miner.pipeline import BY_NAME, NAMES, Scope
from support.queue import FIRST_WAVE, VIDEO_STAGES

Key = tuple[int, str]
"""``(recipe_id, subject)``: the one key of a task and of its result."""
Wish = tuple[str, str, str | None, int | None]
"""Stage, subject, video, wave."""


@dataclass
class Task:
    """A live task or a dead letter."""

    stage: str
    video: str | None = None
    wave: int | None = None
    state: str = "ready"
    seq: int = 0
    attempt: int = 0
    lost: int = 0
    holder: str | None = None
    overdue: bool = False
    """Running: the lease has run out. Waiting: it is due."""


@dataclass
class Result:
    """A fact."""

    stage: str
    outcome: str
    frames: int | None
    video: str | None
    wave: int | None
    kept: dict[str, int] = field(default_factory=dict)


@dataclass
class Wave:
    """One wave of the present epoch."""

    wave_id: int
    members: list[str]


@dataclass
class Project:
    """A compiled spec and its waves."""

    recipes: dict[str, int]
    reads: dict[str, str | None]
    sources: int
    found: list[list[str]]
    target: int | None = None
    priority: int = 0
    suspended: bool = False
    known: set[str] = field(default_factory=set)
    """Every video that a discovery of it has found."""
    waves: list[Wave] = field(default_factory=list)

    @property
    def ends(self) -> str:
        return [s for s in VIDEO_STAGES if s in self.recipes][-1]


@dataclass
class Model:
    """All of it. `plan` brings the tasks to what is wanted."""

    projects: dict[int, Project] = field(default_factory=dict)
    tasks: dict[Key, Task] = field(default_factory=dict)
    results: dict[Key, Result] = field(default_factory=dict)

    def result(self, p: Project, stage: str, subject: str) -> Result | None:
        return self.results.get((p.recipes.get(stage, -1), subject))

    def task(self, p: Project, stage: str, subject: str) -> Task | None:
        return self.tasks.get((p.recipes.get(stage, -1), subject))

    def images(self, p: Project, waves: list[Wave]) -> int:
        gathered = (self.result(p, "dedup", f"w{w.wave_id}") for w in waves)
        return sum(r.frames or 0 for r in gathered if r)

    def live_waves(self, p: Project) -> list[Wave]:
        return [
            w
            for i, w in enumerate(p.waves)
            if p.target is None or i == 0 or self.images(p, p.waves[:i]) < p.target
        ]

    def ended(self, p: Project, video: str) -> bool:
        for stage in (s for s in VIDEO_STAGES if s in p.recipes):
            r, t = self.result(p, stage, video), self.task(p, stage, video)
            if r and (stage == p.ends or r.outcome == "skipped" or r.frames == 0):
                return True
            if t and t.state == "failed":
                return True
        return False

    def gathered(self, p: Project, wave: Wave) -> bool:
        return all(self.ended(p, v) for v in wave.members)

    def cut_ended(self, p: Project, subject: str) -> bool:
        last = "detect" if "detect" in p.recipes else "cut"
        for stage in ("cut", "detect"):
            r, t = self.result(p, stage, subject), self.task(p, stage, subject)
            if r and (stage == last or r.outcome == "skipped" or r.frames == 0):
                return True
            if t and t.state == "failed":
                return True
        return False

    def labelled(self, p: Project, wave: Wave) -> bool:
        r = self.result(p, "dedup", f"w{wave.wave_id}")
        kept = [v for v, n in r.kept.items() if n > 0] if r else []
        return "cut" not in p.recipes or all(
            self.cut_ended(p, f"w{wave.wave_id}/{v}") for v in kept
        )

    def wanted(self, p: Project) -> Iterator[Wish]:
        """What an active project calls for now, done or not."""
        for i in range(p.sources):
            yield "discover", f"p{self._id(p)}/{i}", None, None
        yield from self.wanted_videos(p)
        yield from self.wanted_waves(p)

    def wanted_videos(self, p: Project) -> Iterator[Wish]:
        """Of its members."""
        live = self.live_waves(p)
        for wave in live:
            for video in wave.members:
                for stage in (s for s in VIDEO_STAGES if s in p.recipes):
                    before = p.reads[stage] or ""
                    r = self.result(p, before, video)
                    if stage == "download" or (r and r.outcome == "done" and r.frames != 0):
                        yield stage, video, video, None

    def wanted_waves(self, p: Project) -> Iterator[Wish]:
        """Of its waves."""
        for i, wave in enumerate(self.live_waves(p)):
            subject = f"w{wave.wave_id}"
            prior = f"w{p.waves[i - 1].wave_id}" if i else None
            in_order = {s: prior is None or self.result(p, s, prior) for s in ("dedup", "export")}
            if "dedup" in p.recipes and in_order["dedup"] and self.gathered(p, wave):
                yield "dedup", subject, None, wave.wave_id
            r = self.result(p, "dedup", subject)
            if not r:
                continue
            for video, kept in r.kept.items():
                cut = self.result(p, "cut", f"{subject}/{video}")
                if kept > 0 and "cut" in p.recipes:
                    yield "cut", f"{subject}/{video}", video, wave.wave_id
                if cut and cut.outcome == "done" and cut.frames != 0 and "detect" in p.recipes:
                    yield "detect", f"{subject}/{video}", video, wave.wave_id
            if "export" in p.recipes and in_order["export"] and self.labelled(p, wave):
                yield "export", subject, None, wave.wave_id

    def plan(self) -> None:
        """Add what is wanted and neither done nor in hand."""
        for p in self.projects.values():
            if p.suspended:
                continue
            for stage, subject, video, wave in list(self.wanted(p)):
                key = (p.recipes[stage], subject)
                if key not in self.results:
                    self.tasks.setdefault(key, Task(stage, video, wave))

    def wishes(self, key: Key) -> list[int]:
        """Projects that want a live task, suspended ones too."""
        task = self.tasks[key]
        found = []
        for project_id, p in self.projects.items():
            if p.recipes.get(task.stage) != key[0]:
                continue
            live = self.live_waves(p)
            if (
                (
                    BY_NAME[task.stage].scope is Scope.SOURCE
                    and key[1] in {f"p{project_id}/{i}" for i in range(p.sources)}
                )
                or (
                    BY_NAME[task.stage].scope is Scope.VIDEO
                    and any(key[1] in w.members for w in live)
                )
                or task.wave in {w.wave_id for w in live}
            ):
                found.append(project_id)
        return found

    def sponsor(self, key: Key) -> int:
        """The most urgent active project that wants it."""
        return min(
            self.wishes(key),
            key=lambda i: (self.projects[i].suspended, -self.projects[i].priority, i),
        )

    def cancel(self) -> None:
        """Drop what nobody wants."""
        for key in [k for k in self.tasks if not self.wishes(k)]:
            del self.tasks[key]

    def order(self, p: Project) -> list[str]:
        """The decided order of all that was found."""
        places: dict[str, tuple[int, int]] = {}
        for index, videos in enumerate(p.found):
            if self.result(p, "discover", f"p{self._id(p)}/{index}"):
                for rank, video in enumerate(videos):
                    places[video] = min((rank, index), places.get(video, (rank, index)))
        return sorted(places, key=lambda v: (places[v], v))

    def outside(self, p: Project) -> list[str]:
        """Found, and in no wave."""
        inside = {v for w in p.waves for v in w.members}
        return [v for v in self.order(p) if v not in inside]

    def next_members(self, p: Project) -> list[str]:
        """Who is in the next wave, whenever it opens."""
        n = len(p.waves) + 1
        order, outside = self.order(p), self.outside(p)
        if not outside:
            return []
        end = max(FIRST_WAVE * (2**n - 1), order.index(outside[0]) + FIRST_WAVE * 2 ** (n - 1))
        return [v for v in outside if order.index(v) < end]

    def admission_due(self, p: Project) -> bool:
        """Whether the next wave should be open already."""
        subjects = [f"p{self._id(p)}/{i}" for i in range(p.sources)]
        results = [self.result(p, "discover", s) for s in subjects]
        tasks = [self.task(p, "discover", s) for s in subjects]
        looked_through = all(
            r or (t and t.state == "failed") for r, t in zip(results, tasks, strict=True)
        )
        busy = any(
            (t := self.task(p, s, v)) and t.state in {"ready", "waiting"}
            for w in p.waves
            for v in w.members
            for s in VIDEO_STAGES
            if s in p.recipes
        )
        return (
            not p.suspended
            and looked_through
            and any(r and r.outcome == "done" for r in results)
            and not busy
            and bool(self.next_members(p))
            and (p.target is None or self.images(p, p.waves) < p.target)
        )

    def video_status(self, video: str) -> str:  # noqa: PLR0911  # a table
        """VideoStatus, recounted."""
        tasks = {(t.stage, t.state) for t in self.tasks.values() if t.video == video}
        results = {(r.stage, r.outcome) for r in self.results.values() if r.video == video}
        if ("extract", "running") in tasks:
            return "EXTRACTING"
        if ("extract", "done") in results:
            return "EXTRACTED"
        if ("download", "running") in tasks:
            return "DOWNLOADING"
        if ("extract", "failed") in tasks or ("extract", "skipped") in results:
            return "FAILED"
        if ("download", "done") in results:
            return "DOWNLOADED"
        if ("download", "failed") in tasks or ("download", "skipped") in results:
            return "FAILED"
        return "PENDING"

    def project_video_status(self, p: Project, video: str) -> str:
        """ProjectVideoStatus, recounted."""
        upto = [s for s in ("download", "extract", "embed", "filter") if s in p.recipes]
        t, r = self.task(p, "filter", video), self.result(p, "filter", video)
        if t and t.state == "running":
            return "FILTERING"
        if r:
            return "FILTERED" if (r.frames or 0) > 0 else "FILTERED_EMPTY"
        if any((t := self.task(p, s, video)) and t.state == "failed" for s in upto):
            return "FAILED"
        before = [self.result(p, s, video) for s in upto]
        if any(r and (r.outcome == "skipped" or r.frames == 0) for r in before):
            return "FILTERED_EMPTY"
        return "PENDING"

    def project_counts(self, p: Project) -> dict[str, int]:
        """The counts of project_status, recounted."""
        by = {
            s: [r for v in p.known if (r := self.result(p, s, v))]
            for s in ("download", "extract", "filter")
        }
        failed = {
            v
            for v in p.known
            for s in VIDEO_STAGES
            if (t := self.task(p, s, v)) and t.state == "failed"
        }
        downloaded = {r.video for r in by["download"]}
        return {
            "total_videos": len(p.known),
            "videos_pending": len(p.known - downloaded - failed),
            "videos_downloaded": sum(r.outcome == "done" for r in by["download"]),
            "videos_extracted": sum(r.outcome == "done" for r in by["extract"]),
            "videos_failed": len(failed),
            "extracted_frames": sum(r.frames or 0 for r in by["extract"]),
            "filtered_frames": sum(r.frames or 0 for r in by["filter"]),
            "unique_frames": self.images(p, self.live_waves(p)),
        }

    def project_stage(self, p: Project) -> str:  # noqa: PLR0911  # a table
        """ProjectStatus, recounted."""
        subjects = [f"p{self._id(p)}/{i}" for i in range(p.sources)]
        looked = all(
            self.result(p, "discover", s)
            or ((t := self.task(p, "discover", s)) and t.state == "failed")
            for s in subjects
        )
        if not p.known or not looked:
            return "POPULATING"
        live = self.live_waves(p)
        of_waves = {
            (t.stage, t.state)
            for (recipe, _), t in self.tasks.items()
            if t.wave in {w.wave_id for w in live} and p.recipes.get(t.stage) == recipe
        }
        if ("dedup", "running") in of_waves:
            return "DEDUPING"
        if of_waves & {("detect", "running"), ("export", "running")}:
            return "DETECTING"
        if any(stage == "dedup" for stage, _ in of_waves):
            return "DEDUP_READY"
        for w in live:
            if self.result(p, "dedup", f"w{w.wave_id}") and not (
                self.labelled(p, w)
                and ("export" not in p.recipes or self.result(p, "export", f"w{w.wave_id}"))
            ):
                return "DETECT_READY"
        left = self.outside(p) and (p.target is None or self.images(p, p.waves) < p.target)
        if left or not all(self.gathered(p, w) for w in live):
            return "FILTERING"
        if "dedup" in p.recipes and not all(self.result(p, "dedup", f"w{w.wave_id}") for w in live):
            return "DEDUP_READY"
        return "COMPLETE"

    def _id(self, p: Project) -> int:
        return next(i for i, other in self.projects.items() if other is p)


STAGE_SETS = (
    NAMES,
    ("discover", "download", "extract", "filter", "dedup", "cut", "export"),
    ("discover", "download", "extract", "embed", "filter", "dedup_embed", "dedup", "cut", "detect"),
    ("discover", "download", "extract"),
)
