"""Writes what a user wants: one project, its recipes, and which recipe it has at each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, text

from data_miner.catalog import datasets, events
from data_miner.catalog.planning import replan
from data_miner.compiler import CompiledStage
from data_miner.db.tables import project_stages, recipes
from data_miner.errors import ConflictError
from data_miner.fingerprint import canonical_json
from data_miner.spec.project import MiningProject, canonical


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a project changed."""

    project_id: int
    generation: int
    """Rises by one with each apply that changed something."""
    created: bool
    changed: bool
    """False when everything was as wanted already, and nothing was written."""
    changed_stages: tuple[str, ...]
    """Stages that have another recipe than before, in pipeline order."""
    removed_stages: tuple[str, ...]
    rediscovers: bool
    """Whether the sources are listed anew and the videos admitted in new waves."""


def apply_project(
    conn: Connection,
    project: MiningProject,
    compiled: Sequence[CompiledStage],
    *,
    first_wave: int,
    for_object: bool = False,
) -> Applied:
    """Bring the catalogue in line with a project; safe to repeat and safe against another apply.

    Unchanged work keeps its results; what nobody wants any more is cancelled, what is missing is
    planned. Everything in the caller's transaction. `for_object`: on behalf of a cluster's object;
    all others get a ConflictError for a row that stands for one.
    """
    wanted = _columns(project)
    row, created = _locked_row(conn, wanted)
    if row.owner_uid is not None and row.deleted_at is None and not for_object:
        raise ConflictError(owned_message(wanted["namespace"], wanted["name"]))
    recipe_ids = _recipes(conn, compiled)
    before = _stages(conn, row.project_id)
    after = {c.stage: (recipe_ids[c.fingerprint], c.reads, c.ends_member) for c in compiled}
    changed_stages = tuple(stage for stage, value in after.items() if before.get(stage) != value)
    removed = tuple(stage for stage in before if stage not in after)
    revived = row.deleted_at is not None
    differs = revived or any(getattr(row, name) != wanted[name] for name in _COMPARED)
    rediscovers = "discover" in before and before["discover"][0] != after["discover"][0]
    changed = created or differs or bool(changed_stages or removed)
    generation = row.generation
    if changed:
        _write_stages(conn, row.project_id, after, changed_stages, removed)
        if not created:
            generation = _update(conn, row.project_id, wanted, rediscovers=rediscovers)
        if rediscovers:
            _forget_waves(conn, row.project_id, after["discover"][0])
        datasets.publish_again(conn, row.project_id)
        replan(conn, row.project_id, first_wave=first_wave)
        details = {"generation": generation, "stages": [*changed_stages], "removed": [*removed]}
        events.write(conn, "project.applied", project_id=row.project_id, details=details)
    return Applied(
        project_id=row.project_id,
        generation=generation,
        created=created or revived,
        changed=changed,
        changed_stages=changed_stages,
        removed_stages=removed,
        rediscovers=rediscovers,
    )


def owned_message(namespace: str, name: str) -> str:
    """The one line for who edits the row of a cluster's object."""
    return (
        f"project {namespace}/{name} belongs to a cluster: edit or delete its object there"
        f" (`kubectl -n {namespace} edit miningproject {name}`)"
    )


_COMPARED = ("spec", "weight", "priority", "suspended", "target_images")


def _columns(project: MiningProject) -> dict[str, Any]:
    spec = project.spec
    return {
        "namespace": project.metadata.namespace,
        "name": project.metadata.name,
        "spec": canonical(spec),
        "weight": float(spec.weight),
        "priority": spec.priority,
        "suspended": spec.suspend,
        "target_images": spec.target.images if spec.target else None,
    }


_INSERT = text("""
    INSERT INTO projects (namespace, name, spec, weight, priority, suspended, target_images)
    VALUES (:namespace, :name, CAST(:spec AS jsonb), :weight, :priority, :suspended,
            :target_images)
    ON CONFLICT (namespace, name) DO NOTHING
    RETURNING project_id
""")

_LOCK = text("""
    SELECT project_id, generation, spec, weight, priority, suspended, target_images, deleted_at,
           owner_uid
    FROM projects WHERE namespace = :namespace AND name = :name FOR NO KEY UPDATE
""")


def _locked_row(conn: Connection, wanted: Mapping[str, Any]) -> tuple[Row[Any], bool]:
    """The project's row, locked until the transaction ends, and whether it was made just now."""
    name = {"namespace": wanted["namespace"], "name": wanted["name"]}
    row = conn.execute(_LOCK, name).one_or_none()
    if row is not None:
        return row, False
    made = conn.execute(
        _INSERT, {**wanted, "spec": canonical_json(wanted["spec"])}
    ).scalar_one_or_none()
    # Another apply may have made it since: the lock waits for that one.
    return conn.execute(_LOCK, name).one(), made is not None


_UPDATE = text("""
    UPDATE projects
    SET spec = CAST(:spec AS jsonb), weight = :weight, priority = :priority,
        suspended = :suspended, target_images = :target_images, deleted_at = NULL,
        generation = generation + 1, wave_epoch = wave_epoch + :epochs,
        updated_at = dataminer_now()
    WHERE project_id = :project_id
    RETURNING generation
""")


def _update(
    conn: Connection, project_id: int, wanted: Mapping[str, Any], *, rediscovers: bool
) -> int:
    given = {**wanted, "spec": canonical_json(wanted["spec"]), "epochs": int(rediscovers)}
    return int(conn.execute(_UPDATE, {**given, "project_id": project_id}).scalar_one())


def _recipes(conn: Connection, compiled: Sequence[CompiledStage]) -> dict[str, int]:
    """Recipe ids by fingerprint; a recipe that is known already is shared, not written."""
    known = _known(conn, compiled)
    by_stage = {c.stage: c for c in compiled}
    for stage in compiled:
        if stage.fingerprint in known:
            continue
        # Discovery says which videos there are, not what is in one: recipes do not hang on it.
        reads = by_stage[stage.reads] if stage.reads not in (None, "discover") else None
        conn.execute(
            _INSERT_RECIPE,
            {
                "stage": stage.stage,
                "fingerprint": stage.fingerprint,
                "reuse_key": stage.reuse_key,
                "params": canonical_json(dict(stage.params)),
                "upstream_id": known[reads.fingerprint] if reads else None,
            },
        )
        known = _known(conn, compiled)
    return known


_INSERT_RECIPE = text("""
    INSERT INTO recipes (stage, fingerprint, reuse_key, params, upstream_id)
    VALUES (:stage, :fingerprint, :reuse_key, CAST(:params AS jsonb), :upstream_id)
    ON CONFLICT (fingerprint) DO NOTHING
""")


def _known(conn: Connection, compiled: Sequence[CompiledStage]) -> dict[str, int]:
    rows = conn.execute(
        recipes.select()
        .with_only_columns(recipes.c.fingerprint, recipes.c.recipe_id)
        .where(recipes.c.fingerprint.in_([c.fingerprint for c in compiled]))
    )
    return {row.fingerprint: row.recipe_id for row in rows}


_StageRow = tuple[int, str | None, bool]


def _stages(conn: Connection, project_id: int) -> dict[str, _StageRow]:
    columns = project_stages.c
    rows = conn.execute(
        project_stages.select()
        .with_only_columns(columns.stage, columns.recipe_id, columns.reads, columns.ends_member)
        .where(columns.project_id == project_id)
    )
    return {row.stage: (row.recipe_id, row.reads, row.ends_member) for row in rows}


def _write_stages(
    conn: Connection,
    project_id: int,
    after: Mapping[str, _StageRow],
    changed: Sequence[str],
    removed: Sequence[str],
) -> None:
    # Deleted first: one row only of a project may say that it ends a member.
    conn.execute(
        text("DELETE FROM project_stages WHERE project_id = :p AND stage = ANY(:stages)"),
        {"p": project_id, "stages": [*changed, *removed]},
    )
    if changed:
        rows = []
        for stage in changed:
            recipe_id, reads, ends_member = after[stage]
            rows.append(
                {
                    "project_id": project_id,
                    "stage": stage,
                    "recipe_id": recipe_id,
                    "reads": reads,
                    "ends_member": ends_member,
                }
            )
        conn.execute(insert(project_stages), rows)


def _forget_waves(conn: Connection, project_id: int, recipe_id: int) -> None:
    """Members are admitted anew, in the order of the new sources.

    Sources that were wanted once before are listed again: what they gave then is out of date.
    """
    given = {"p": project_id, "r": recipe_id, "subjects": f"p{project_id}/%"}
    for statement in (
        """UPDATE project_videos SET wave_id = NULL, wave_position = NULL
           WHERE project_id = :p AND wave_id IS NOT NULL""",
        "DELETE FROM project_sources WHERE project_id = :p AND recipe_id = :r",
        "DELETE FROM results WHERE recipe_id = :r AND subject LIKE :subjects",
    ):
        conn.execute(text(statement), given)
