"""Say which trace the tasks belong to that are planned from here on."""

from __future__ import annotations

from sqlalchemy import Connection, text

TRACE = text("SELECT queue_trace(:traceparent)")


def trace(connection: Connection, traceparent: str | None) -> None:
    """Tasks that this transaction plans after this belong to the trace; None: to none, at no cost.

    `traceparent` is W3C's trace context of the span that plans them. Tasks that are there already
    keep their own, and so do the tries of one task.
    """
    if traceparent is not None:
        connection.execute(TRACE, {"traceparent": traceparent})
