"""Give tasks back unworked."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

HAND_BACK = text("SELECT queue_hand_back(CAST(:ids AS bigint[]), CAST(:seqs AS integer[]))")


def hand_back(connection: Connection, tokens: Sequence[tuple[int, int]]) -> set[int]:
    """Make tasks ready again, by ``(id, claim_seq)``; returns the ids that were still ours.

    For a worker that stops: neither an attempt nor a loss is counted.
    """
    if not tokens:
        return set()
    ids, seqs = zip(*tokens, strict=True)
    return set(connection.scalars(HAND_BACK, {"ids": list(ids), "seqs": list(seqs)}))
