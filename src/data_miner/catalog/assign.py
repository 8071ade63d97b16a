"""What one claimed task needs to know, read with a handful of queries whatever its size."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from data_miner.catalog import facts, removals, report
from data_miner.catalog.facts import Found, InputGoneError, Recipe
from data_miner.queue.task import Claimed
from data_miner.settings import Settings
from data_miner.stage import Assignment, Fact, Json, Video

Inputs = Mapping[str, tuple[Fact, ...]]


class PlaceTakenError(Exception):
    """An export cannot begin: published files are being removed where it would write."""


def assign(conn: Connection, claimed: Claimed, settings: Settings) -> Assignment:
    """Everything that the stage of a claimed task reads, as plain data.

    Raises InputGoneError when a result that it needs has lost its files or is not recorded, and
    PlaceTakenError for an export whose place is being cleared.
    """
    reader = _Reader(conn, claimed, facts.chain(conn, claimed.recipe_id))
    header = reader.header
    return Assignment(
        task_id=claimed.id,
        claim_seq=claimed.claim_seq,
        stage=claimed.stage,
        subject=claimed.subject,
        params=_params(reader, settings),
        attempt=claimed.attempt,
        max_attempts=settings.max_attempts,
        project_id=claimed.project_id,
        project_name=header.name,
        namespace=header.namespace,
        wave=header.wave,
        video=_video(header),
        inputs=_INPUTS[claimed.stage](reader),
        previous=_previous(reader),
        checkpoint=claimed.checkpoint,
        traceparent=header.traceparent,
    )


_HEADER = text("""
    SELECT p.namespace, p.name, w.n AS wave, w.epoch, v.video_id, v.url, v.source_type, v.title,
           v.metadata, t.traceparent
    FROM projects p
    LEFT JOIN tasks t ON t.id = :task_id
    LEFT JOIN waves w ON w.wave_id = :wave_id
    LEFT JOIN videos v ON v.video_id = :video_id
    WHERE p.project_id = :project_id
""")

# A wave that all its members have left is still a wave.
_SPAN = text("""
    SELECT pv.video_id, w.wave_id, w.n
    FROM waves w LEFT JOIN project_videos pv ON pv.wave_id = w.wave_id
    WHERE w.project_id = :project_id AND w.epoch = :epoch AND w.n <= :n
    ORDER BY w.n, pv.wave_position
""")


_UNDER_WAY = text("""
    SELECT min(v.video_id) FROM unnest(CAST(:videos AS text[])) AS v (video_id)
    WHERE NOT member_ended(:project_id, v.video_id)
""")

_UNSETTLED = text("""
    SELECT min(s.subject) FROM unnest(CAST(:subjects AS text[])) AS s (subject)
    WHERE NOT EXISTS (SELECT FROM results r
                      WHERE r.recipe_id = ANY(:recipes) AND r.subject = s.subject
                        AND (r.outcome = 'skipped' OR r.frames = 0))
      AND NOT EXISTS (SELECT FROM tasks t
                      WHERE t.recipe_id = ANY(:recipes) AND t.subject = s.subject
                        AND t.state = 'failed')
""")


@dataclass(frozen=True)
class _Reader:
    """One task's view of the results that it may read."""

    conn: Connection
    claimed: Claimed
    chain: Mapping[str, Recipe]
    """By stage: the task's own recipe and every one upstream of it."""

    @cached_property
    def header(self) -> Row[Any]:
        row = self.conn.execute(
            _HEADER,
            {
                "project_id": self.claimed.project_id,
                "wave_id": self.claimed.wave_id,
                "video_id": self.claimed.video_id,
                "task_id": self.claimed.id,
            },
        ).one_or_none()
        if row is None:
            raise InputGoneError((), f"project {self.claimed.project_id} is not there any more")
        return row

    @cached_property
    def _span(self) -> list[Row[Any]]:
        given = {
            "project_id": self.claimed.project_id,
            "epoch": self.header.epoch,
            "n": self.header.wave,
        }
        return list(self.conn.execute(_SPAN, given))

    @property
    def members(self) -> list[Row[Any]]:
        """Videos of this wave and of those before it, in their order."""
        return [row for row in self._span if row.video_id is not None]

    @property
    def waves(self) -> dict[int, str]:
        """Subjects of this wave and of those before it, by number, in their order."""
        return {row.n: f"w{row.wave_id}" for row in self._span}

    def read(
        self, stages: Collection[str], subjects: Collection[str]
    ) -> dict[tuple[str, str], Found]:
        """Results of the chain's recipes by (stage, subject), in two queries."""
        recipes = {
            recipe.recipe_id: recipe.params
            for stage, recipe in self.chain.items()
            if stage in stages
        }
        found = facts.read(self.conn, recipes, subjects)
        return {(f.fact.stage, f.fact.subject): f for f in found}

    def needed(self, **subjects: str | None) -> Inputs:
        """One result each of the named stages; those that the project has not are left out."""
        wanted = {s: subject for s, subject in subjects.items() if s in self.chain and subject}
        found = self.read(wanted, set(wanted.values()))
        return {s: (self.whole(s, subject, found),) for s, subject in wanted.items()}

    def ended(self, absent: Collection[str]) -> None:
        """Raise InputGoneError while one of these members is under way again.

        Absent must mean skipped or failed: what is being made again is waited for.
        """
        if not absent:
            return
        given = {"videos": sorted(absent), "project_id": self.claimed.project_id}
        video = self.conn.execute(_UNDER_WAY, given).scalar()
        if video is not None:
            raise InputGoneError((), f"{video} is under way again")

    def settled(self, stages: Collection[str], absent: Collection[str]) -> None:
        """Raise InputGoneError while one of these subjects is under way again at some stage."""
        if not absent:
            return
        recipes = [self.chain[stage].recipe_id for stage in stages]
        given = {"subjects": sorted(absent), "recipes": recipes}
        subject = self.conn.execute(_UNSETTLED, given).scalar()
        if subject is not None:
            raise InputGoneError((), f"{subject} is under way again")

    def whole(self, stage: str, subject: str, found: Mapping[tuple[str, str], Found]) -> Fact:
        """The result with all its files. Raises InputGoneError."""
        got = found.get((stage, subject))
        if got is None or got.gone:
            key = (self.chain[stage].recipe_id, subject)
            raise InputGoneError([key], f"the {stage} of {subject} is gone; it is made again")
        return got.fact


def _discover(_: _Reader) -> Inputs:
    return {}


def _download(_: _Reader) -> Inputs:
    return {}


def _extract(reader: _Reader) -> Inputs:
    return reader.needed(download=reader.claimed.video_id)


def _embed(reader: _Reader) -> Inputs:
    return reader.needed(extract=reader.claimed.video_id)


def _filter(reader: _Reader) -> Inputs:
    video = reader.claimed.video_id
    return reader.needed(extract=video, embed=video)


def _dedup_embed(reader: _Reader) -> Inputs:
    video = reader.claimed.video_id
    return reader.needed(extract=video, filter=video)


def _dedup(reader: _Reader) -> Inputs:
    """The members that have kept frames, each with the results of all stages up to here.

    A member that was skipped, has failed or has kept nothing takes no part.
    """
    stages = [s for s in ("download", "extract", "filter", "dedup_embed") if s in reader.chain]
    earlier = [subject for n, subject in reader.waves.items() if n < reader.header.wave]
    found = reader.read([*stages, "dedup"], {*(m.video_id for m in reader.members), *earlier})
    inputs: dict[str, list[Fact]] = {stage: [] for stage in [*stages, "dedup"]}
    absent = []
    for member in reader.members:
        kept = found.get(("filter", member.video_id))
        there = all((stage, member.video_id) in found for stage in stages)
        if kept is None or not there or not kept.fact.facts.get("frames"):
            absent.append(member.video_id)
            continue
        for stage in stages:
            fact = reader.whole(stage, member.video_id, found)
            inputs[stage].append(_in_wave(fact, member.n))
    reader.ended(absent)
    inputs["dedup"] = [reader.whole("dedup", subject, found) for subject in earlier]
    return {stage: tuple(values) for stage, values in inputs.items()}


def _cut(reader: _Reader) -> Inputs:
    wave, video = f"w{reader.claimed.wave_id}", reader.claimed.video_id
    return reader.needed(dedup=wave, download=video)


def _detect(reader: _Reader) -> Inputs:
    return reader.needed(cut=reader.claimed.subject)


def _export(reader: _Reader) -> Inputs:
    """All that the waves so far have made; a video without a result takes no part."""
    per_video = [s for s in _EXPORTED if s in reader.chain]
    per_wave_video = [s for s in ("cut", "detect") if s in reader.chain]
    subjects = set(reader.waves.values())
    for member in reader.members:
        subjects |= {member.video_id, f"w{member.wave_id}/{member.video_id}"}
    stages = [*per_video, "dedup", *per_wave_video, "export"]
    found = reader.read(stages, subjects)

    inputs: dict[str, list[Fact]] = {stage: [] for stage in stages}
    absent, uncut = set(), set()
    for member in reader.members:
        by_stage = dict.fromkeys(per_video, member.video_id)
        by_stage |= dict.fromkeys(per_wave_video, f"w{member.wave_id}/{member.video_id}")
        for stage, subject in by_stage.items():
            got = found.get((stage, subject))
            if got is None:
                if stage in per_video:
                    absent.add(member.video_id)
                elif _keeps(found.get(("dedup", f"w{member.wave_id}")), member.video_id):
                    uncut.add(subject)
                continue
            # Facts of a download or an extract are of use without their files.
            fact = got.fact if stage in _LIGHT else reader.whole(stage, subject, found)
            inputs[stage].append(_in_wave(fact, member.n))
    reader.ended(absent)
    reader.settled(per_wave_video, uncut)
    for n, wave in reader.waves.items():
        inputs["dedup"].append(reader.whole("dedup", wave, found))
        before = found.get(("export", wave))
        if before is not None and n < reader.header.wave:
            inputs["export"] = [before.fact]
    told = report.facts(reader.conn, reader.claimed.project_id)
    inputs["report"] = [
        Fact("report", f"p{reader.claimed.project_id}", None, told, (), reader.header.wave)
    ]
    return {stage: tuple(values) for stage, values in inputs.items()}


_EXPORTED: Final = ("download", "extract", "filter", "dedup_embed")


def _keeps(dedup: Found | None, video_id: str) -> bool:
    """Whether images of the video are left after near-duplicates."""
    kept = dedup.fact.facts.get("kept_by_video", {}) if dedup else {}
    return bool(kept.get(video_id))


_LIGHT: Final = frozenset({"download", "extract"})

_INPUTS: Final[Mapping[str, Callable[[_Reader], Inputs]]] = {
    "discover": _discover,
    "download": _download,
    "extract": _extract,
    "embed": _embed,
    "filter": _filter,
    "dedup_embed": _dedup_embed,
    "dedup": _dedup,
    "cut": _cut,
    "detect": _detect,
    "export": _export,
}

_LENDERS: Final = frozenset({"dedup_embed", "cut", "detect"})


def _previous(reader: _Reader) -> tuple[Fact, ...]:
    claimed, recipe = reader.claimed, reader.chain[reader.claimed.stage]
    if claimed.video_id is None:
        return ()
    if claimed.stage == "download":
        return facts.satisfying(reader.conn, recipe, claimed.video_id)
    if claimed.stage in _LENDERS:
        return facts.lending(reader.conn, recipe, claimed.subject, claimed.video_id)
    return ()


def _params(reader: _Reader, settings: Settings) -> Mapping[str, Json]:
    params = reader.chain[reader.claimed.stage].params
    if reader.claimed.stage != "export":
        return params
    own = f"{settings.datasets}/{reader.header.namespace}/{reader.header.name}"
    base = str(params.get("uri") or own)
    if removals.under_way(reader.conn, base):
        raise PlaceTakenError(f"files of an earlier project are being removed from {base}")
    return {**params, "base": base}


def _video(header: Row[Any]) -> Video | None:
    if header.video_id is None:
        return None
    return Video(header.video_id, header.url, header.source_type, header.title, header.metadata)


def _in_wave(fact: Fact, wave: int) -> Fact:
    return replace(fact, wave=wave)
