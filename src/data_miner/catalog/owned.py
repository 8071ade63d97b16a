"""Projects that objects of a cluster own: the row remembers whose it is and what was applied.

The object's controller calls these. All of them are safe to repeat: what is there already is not
written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy import Row as DatabaseRow

from data_miner.catalog import events, lifecycle, removals
from data_miner.catalog.apply import Applied, apply_project, owned_message
from data_miner.catalog.retry import retry
from data_miner.compiler import CompiledStage
from data_miner.errors import ConflictError, NotFoundError
from data_miner.fingerprint import fingerprint
from data_miner.spec.project import MiningProject, canonical


@dataclass(frozen=True, slots=True)
class Row:
    """A project's row, as far as it matters to whoever keeps it in line with an object."""

    project_id: int
    namespace: str
    name: str
    owner_installation: str | None
    """Which cluster's operator applied it last; None: the command line."""
    owner_uid: str | None
    """Of the object that it stands for; None when that is gone, or there never was one."""
    applied_digest: str | None
    """`wanted_digest` of what was applied last. None when the row is not what was applied: never
    applied by an operator, released, or suspended in an emergency."""
    generation: int
    """Rises with each apply that changed something; not the object's."""
    suspended: bool
    deletion_policy: str
    """``Retain`` or ``Delete``, from the spec that was applied last."""
    retried: str
    """The last token that was acted on (`retry_once`); empty for none."""
    deleted: bool
    """As if there were no row: applying it begins a new life."""


def find_row(conn: Connection, namespace: str, name: str) -> Row | None:
    """The row of this name, deleted or not; None when there never was one."""
    row = conn.execute(_ONE, {"namespace": namespace, "name": name}).one_or_none()
    return None if row is None else _row(row)


def rows_of(conn: Connection, installation: str) -> Sequence[Row]:
    """Rows that stand for an object of this installation, by namespace and name."""
    return [_row(row) for row in conn.execute(_OF, {"installation": installation})]


def wanted_digest(project: MiningProject, compiled: Sequence[CompiledStage]) -> str:
    """SHA-256 (hex) of all that applying a project writes: its spec and its recipes."""
    return fingerprint(
        {
            "spec": canonical(project.spec),
            "recipes": {stage.stage: stage.fingerprint for stage in compiled},
        }
    )


def apply_owned(
    conn: Connection,
    project: MiningProject,
    compiled: Sequence[CompiledStage],
    *,
    installation: str,
    uid: str,
    digest: str,
    first_wave: int,
) -> Applied:
    """`apply_project` for an object, whose row it is from then on.

    Takes the row over from whoever had it: whether that is allowed is decided before.
    """
    applied = apply_project(conn, project, compiled, first_wave=first_wave, for_object=True)
    conn.execute(
        _OWN,
        {
            "project_id": applied.project_id,
            "installation": installation,
            "uid": uid,
            "digest": digest,
        },
    )
    return applied


def suspend_owned(conn: Connection, project_id: int) -> bool:
    """Stop a project whose spec cannot be applied otherwise; False when it was stopped already.

    The digest is forgotten: the same spec as before, applied again, starts it again.
    """
    conn.execute(_UNAPPLIED, {"project_id": project_id})
    return lifecycle.suspend(conn, project_id)


def release(conn: Connection, project_id: int) -> bool:
    """The object is gone and its project is to be kept: nobody works on it any more.

    Rows, results and published versions stay, and an object of the same name goes on with them.
    False when it was released already.
    """
    if _life(conn, project_id).owner_uid is None:
        return False
    lifecycle.cancel(conn, project_id)
    conn.execute(_RELEASED, {"project_id": project_id})
    events.write(conn, "project.released", project_id=project_id)
    return True


def forget(conn: Connection, project_id: int) -> None:
    """The object is gone and so shall be its project: its rows now, its published versions soon.

    Results that belong to videos stay: other projects may use them. A worker removes the files.
    """
    if _life(conn, project_id).deleted:
        return
    removals.ask(conn, project_id)
    lifecycle.delete(conn, project_id)


def retry_once(conn: Connection, project_id: int, token: str, *, first_wave: int) -> int:
    """Make the project's dead letters ready again, once for each token; returns how many.

    A token counts as used also when nothing had failed. Raises NotFoundError.
    """
    life = _life(conn, project_id)
    if not token or life.retried_token == token:
        return 0
    retried = retry(conn, project_id, first_wave=first_wave)
    conn.execute(_RETRIED, {"project_id": project_id, "token": token})
    return retried.tasks


def refuse_owned(conn: Connection, project_id: int) -> None:
    """Raise ConflictError for a project that stands for an object: the object has the last word.

    The row stays locked until the transaction ends.
    """
    life = _life(conn, project_id)
    if life.owner_uid is not None and not life.deleted:
        raise ConflictError(owned_message(life.namespace, life.name))


_COLUMNS = """
    project_id, namespace, name, owner_installation, owner_uid, applied_digest, generation,
    suspended, coalesce(spec ->> 'deletionPolicy', 'Retain') AS deletion_policy,
    coalesce(retried_token, '') AS retried, deleted_at IS NOT NULL AS deleted
"""
_ONE = text(f"SELECT {_COLUMNS} FROM projects WHERE namespace = :namespace AND name = :name")  # noqa: S608
_OF = text(
    f"SELECT {_COLUMNS} FROM projects WHERE owner_installation = :installation"  # noqa: S608
    " AND owner_uid IS NOT NULL AND deleted_at IS NULL ORDER BY namespace, name"
)


def _row(found: DatabaseRow[Any]) -> Row:
    return Row(**found._mapping)


_OWN = text("""
    UPDATE projects SET owner_installation = :installation, owner_uid = :uid,
                        applied_digest = :digest
    WHERE project_id = :project_id
      AND (owner_installation, owner_uid, applied_digest)
          IS DISTINCT FROM (:installation, :uid, :digest)
""")

_UNAPPLIED = text(
    "UPDATE projects SET applied_digest = NULL"
    " WHERE project_id = :project_id AND applied_digest IS NOT NULL"
)

_RELEASED = text(
    "UPDATE projects SET owner_uid = NULL, applied_digest = NULL WHERE project_id = :project_id"
)

_RETRIED = text("UPDATE projects SET retried_token = :token WHERE project_id = :project_id")

_LIFE = text("""
    SELECT namespace, name, owner_uid, retried_token, deleted_at IS NOT NULL AS deleted
    FROM projects WHERE project_id = :project_id FOR NO KEY UPDATE
""")


def _life(conn: Connection, project_id: int) -> DatabaseRow[Any]:
    """What the row says about itself, locked until the transaction ends. Raises NotFoundError."""
    row = conn.execute(_LIFE, {"project_id": project_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no project with id {project_id}")
    return row
