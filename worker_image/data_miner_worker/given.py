"""What a stage was given: the results of others, and their files as arrays and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_miner.stage import Artifact, Context, Fact, StageError
from data_miner_worker import columns, vectors

Value = TypeVar("Value")


def only(context: Context, stage: str) -> Fact:
    """The one result of `stage`. Raises StageError("input_missing") when it is not there."""
    facts = context.assignment.inputs.get(stage, ())
    if len(facts) != 1:
        raise missing(context, f"{len(facts)} results of {stage}, expected one")
    return facts[0]


def every(context: Context, stage: str) -> tuple[Fact, ...]:
    """All results of `stage`, by wave, then subject; empty when there is none."""
    facts = context.assignment.inputs.get(stage, ())
    return tuple(sorted(facts, key=lambda fact: (fact.wave or 0, fact.subject)))


def by_video(facts: Sequence[Fact]) -> dict[str, Fact]:
    """Results that belong to a video, by its id."""
    return {fact.video_id: fact for fact in facts if fact.video_id is not None}


def missing(context: Context, what: str) -> StageError:
    """The failure of finding less than was promised."""
    one = context.assignment
    return StageError("input_missing", f"{one.stage} {one.subject}: {what}")


def artifact(fact: Fact, kind: str) -> Artifact:
    """The one file of a kind. Raises StageError("input_missing")."""
    try:
        return fact.artifact(kind)
    except LookupError as error:
        raise StageError("input_missing", str(error)) from error


def table(context: Context, fact: Fact, kind: str) -> pa.Table:
    """A Parquet file of a result."""
    return _read(context, fact, kind, columns.read)


def unit_vectors(context: Context, fact: Fact) -> vectors.Vectors:
    """The vectors of a result."""
    return _read(context, fact, "vectors", vectors.load)


def renders(context: Context, fact: Fact, key: str) -> NDArray[np.uint8]:
    """Renders (N, h, w, 3), read from the file as they are used."""
    return _read(context, fact, f"render:{key}", _map_array)


def _map_array(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _read(context: Context, fact: Fact, kind: str, reader: Callable[[Path], Value]) -> Value:
    found = artifact(fact, kind)
    path = context.fetch(found)
    try:
        return reader(path)
    except (ValueError, EOFError, KeyError, OSError, BadZipFile) as error:
        raise StageError(
            "input_corrupt", f"{fact.stage} {fact.subject}: {found.uri}: {error}"
        ) from error


def numbers(table_: pa.Table, name: str) -> Any:
    """A column without nulls as a NumPy array."""
    return table_.column(name).to_numpy()
