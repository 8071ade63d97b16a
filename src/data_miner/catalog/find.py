"""Finds a project by its name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from data_miner.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class ProjectName:
    """A project that is there."""

    project_id: int
    namespace: str
    name: str


def projects(conn: Connection, namespace: str | None = None) -> Sequence[ProjectName]:
    """Projects that are not deleted, by namespace and name; None means all namespaces."""
    rows = conn.execute(
        text(
            "SELECT project_id, namespace, name FROM projects WHERE deleted_at IS NULL"
            " AND (CAST(:namespace AS text) IS NULL OR namespace = :namespace)"
            " ORDER BY namespace, name"
        ),
        {"namespace": namespace},
    )
    return [ProjectName(*row) for row in rows]


def find_project(conn: Connection, name: str, namespace: str = "default") -> ProjectName:
    """The project of this name; ``namespace/name`` names both at once.

    Raises NotFoundError with the nearest names that there are.
    """
    if "/" in name:
        namespace, _, name = name.partition("/")
    there = projects(conn)
    for project in there:
        if (project.namespace, project.name) == (namespace, name):
            return project
    raise NotFoundError(_missing(name, namespace, there))


def _missing(name: str, namespace: str, there: Sequence[ProjectName]) -> str:
    what = f"there is no project {name!r}"
    if namespace != "default":
        what += f" in namespace {namespace!r}"
    if not there:
        return f"{what}: there are no projects yet; `data-miner run FILE` makes one"
    called = {
        p.name if p.namespace == "default" else f"{p.namespace}/{p.name}": p.name for p in there
    }
    close = difflib.get_close_matches(name, list(called.values()), n=3, cutoff=0.5)
    near = [full for full, short in called.items() if short in close]
    if near:
        return f"{what}: did you mean {' or '.join(near[:3])}?"
    shown = sorted(called)[:10]
    return f"{what}: there are {', '.join(shown)}{' …' if len(called) > len(shown) else ''}"
