"""Reads results with their files: what earlier tasks made, as stages are told it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from data_miner.stage import Artifact, Fact, Json

Key = tuple[int, str]
"""(recipe_id, subject): the one name of a task and of its result."""


class InputGoneError(Exception):
    """Something that a task reads is not there any more; the results in `keys` must be made again.

    Nothing is wrong with the task: put it off, and tell the catalogue with `mark_gone`, so that the
    planner sees that the work is missing.
    """

    def __init__(self, keys: Sequence[Key], message: str) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one stage is done."""

    recipe_id: int
    stage: str
    params: Mapping[str, Json]
    reuse_key: str


@dataclass(frozen=True, slots=True)
class Found:
    """A result and whether the files that it names are still there."""

    key: Key
    fact: Fact
    gone: bool


_CHAIN = text("""
    WITH RECURSIVE chain AS (
        SELECT recipe_id, stage, params, reuse_key, upstream_id
        FROM recipes WHERE recipe_id = :recipe_id
        UNION ALL
        SELECT r.recipe_id, r.stage, r.params, r.reuse_key, r.upstream_id
        FROM recipes r JOIN chain ON r.recipe_id = chain.upstream_id
    )
    SELECT recipe_id, stage, params, reuse_key FROM chain
""")

_RESULTS = """
    SELECT r.recipe_id, r.subject, r.stage, r.video_id, r.facts, r.frames, w.n AS wave,
           r.gone_at IS NOT NULL AS gone
    FROM results r
    JOIN recipes c USING (recipe_id)
    LEFT JOIN waves w ON w.wave_id = r.wave_id
    WHERE r.outcome = 'done' AND {which}
    ORDER BY {order}
"""

_BY_KEY = text(
    _RESULTS.format(
        which="r.recipe_id = ANY(:recipes) AND r.subject = ANY(:subjects)",
        order="r.recipe_id, r.subject",
    )
)

_FILES = text("""
    SELECT recipe_id, subject, kind, uri, bytes, sha256, media, generation,
           deleted_at IS NOT NULL AS deleted
    FROM artifacts WHERE recipe_id = ANY(:recipes) AND subject = ANY(:subjects)
    ORDER BY recipe_id, subject, position
""")

_LENDING = text(
    _RESULTS.format(
        which="r.video_id = :video_id AND r.stage = :stage AND c.reuse_key = :reuse_key"
        " AND (r.recipe_id, r.subject) <> (:recipe_id, :subject)",
        order="r.finished_at DESC, r.recipe_id DESC, r.subject LIMIT 16",
    )
)

# A taller picture serves a smaller wish; one more that is too large in bytes does not.
_SATISFYING = text(
    _RESULTS.format(
        which="r.video_id = :video_id AND r.stage = 'download' AND r.recipe_id <> :recipe_id"
        " AND (c.params -> 'credential') IS NOT DISTINCT FROM"
        "     (SELECT params -> 'credential' FROM recipes WHERE recipe_id = :recipe_id)"
        " AND (c.params ->> 'max_height')::int >="
        "     (SELECT (params ->> 'max_height')::int FROM recipes WHERE recipe_id = :recipe_id)",
        order="(c.params ->> 'max_height')::int, r.finished_at DESC, r.recipe_id DESC LIMIT 16",
    )
)


def chain(conn: Connection, recipe_id: int) -> dict[str, Recipe]:
    """The recipe and all that it reads from, by stage."""
    rows = conn.execute(_CHAIN, {"recipe_id": recipe_id})
    return {row.stage: Recipe(*row) for row in rows}


def read(
    conn: Connection, recipes: Mapping[int, Mapping[str, Json]], subjects: Collection[str]
) -> list[Found]:
    """What there is of every given recipe on every given subject; skipped work is left out.

    `recipes` holds parameters by recipe id. Two queries.
    """
    if not recipes or not subjects:
        return []
    given = {"recipes": sorted(recipes), "subjects": sorted(subjects)}
    return _found(conn, conn.execute(_BY_KEY, given).all(), recipes)


def lending(conn: Connection, recipe: Recipe, subject: str, video_id: str) -> tuple[Fact, ...]:
    """Results with the same reuse key on the same video whose files are there, newest first."""
    given = {
        "video_id": video_id,
        "stage": recipe.stage,
        "reuse_key": recipe.reuse_key,
        "recipe_id": recipe.recipe_id,
        "subject": subject,
    }
    return _whole(conn, conn.execute(_LENDING, given).all())


def satisfying(conn: Connection, recipe: Recipe, video_id: str) -> tuple[Fact, ...]:
    """Downloads of other recipes that are at least as tall as `recipe` wants, least tall first."""
    given = {"video_id": video_id, "recipe_id": recipe.recipe_id}
    facts = _whole(conn, conn.execute(_SATISFYING, given).all())
    most = recipe.params.get("max_bytes")
    return tuple(f for f in facts if most is None or all(a.bytes <= most for a in f.artifacts))


def mark_gone(conn: Connection, keys: Collection[Key]) -> int:
    """Forget these results, because their files are lost; returns how many there were.

    The planner makes them again where something still needs them. Others that need them notice by
    themselves: whoever reads a result that is not there raises InputGoneError.
    """
    marked = 0
    for recipe_id, subject in sorted(keys):
        marked += conn.execute(
            text("DELETE FROM results WHERE recipe_id = :recipe_id AND subject = :subject"),
            {"recipe_id": recipe_id, "subject": subject},
        ).rowcount
    return marked


def _whole(conn: Connection, rows: Sequence[Row[Any]]) -> tuple[Fact, ...]:
    """The rows whose files are there."""
    if not rows:
        return ()
    recipes = sorted({row.recipe_id for row in rows})
    params = {r.recipe_id: r.params for r in conn.execute(_PARAMS, {"recipes": recipes})}
    found = _found(conn, rows, params)
    return tuple(f.fact for f in found if not f.gone and f.fact.artifacts)


_PARAMS = text("SELECT recipe_id, params FROM recipes WHERE recipe_id = ANY(:recipes)")


def _found(
    conn: Connection, rows: Sequence[Row[Any]], recipes: Mapping[int, Mapping[str, Json]]
) -> list[Found]:
    given = {
        "recipes": sorted({row.recipe_id for row in rows}),
        "subjects": sorted({row.subject for row in rows}),
    }
    files: dict[Key, list[Row[Any]]] = {}
    for file in conn.execute(_FILES, given) if rows else ():
        files.setdefault((file.recipe_id, file.subject), []).append(file)
    return [
        _one(row, files.get((row.recipe_id, row.subject), ()), recipes[row.recipe_id])
        for row in rows
    ]


def _one(row: Row[Any], files: Sequence[Row[Any]], params: Mapping[str, Json]) -> Found:
    # Files of an older generation were replaced: only the newest says whether anything is lost.
    newest = max((f.generation for f in files), default=0)
    present = [f for f in files if f.generation == newest]
    facts = dict(row.facts)
    if row.frames is not None:
        facts["frames"] = row.frames
    return Found(
        key=(row.recipe_id, row.subject),
        gone=row.gone or any(f.deleted for f in present),
        fact=Fact(
            stage=row.stage,
            subject=row.subject,
            video_id=row.video_id,
            facts=facts,
            artifacts=tuple(
                Artifact(f.kind, f.uri, f.bytes, f.sha256, f.media)
                for f in present
                if not f.deleted
            ),
            wave=row.wave,
            params=params,
        ),
    )
