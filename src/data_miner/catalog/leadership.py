"""Which operator of an installation may write: the one that was elected last.

An election elsewhere says who should lead. This says who does: a number that rises with each
election, and that every transaction of an operator holds while it writes.
"""

from __future__ import annotations

from sqlalchemy import Connection, text


class FencedError(Exception):
    """Another leader was elected since: nothing of this transaction may be written."""


def take_office(conn: Connection, installation: str, holder: str) -> int:
    """Become the leader of an installation; returns the new epoch, from 1.

    Waits for transactions of the leader before that are under way, as long as the connection's
    lock timeout; what that leader begins afterwards is fenced. `holder` is for people.
    """
    return int(conn.execute(_TAKE, {"installation": installation, "holder": holder}).scalar_one())


def fence(conn: Connection, installation: str, epoch: int) -> None:
    """Make this transaction the present leader's: nobody else takes office before it ends.

    Call it first in every transaction that writes. Raises FencedError when `epoch` is not the
    present one.
    """
    found = conn.execute(_HOLD, {"installation": installation}).one_or_none()
    if found is not None and found.epoch == epoch:
        return
    now = "nobody leads" if found is None else f"{found.holder} leads with epoch {found.epoch}"
    raise FencedError(f"epoch {epoch} of installation {installation} is over: {now}")


_TAKE = text("""
    INSERT INTO leaders AS l (installation, epoch, holder) VALUES (:installation, 1, :holder)
    ON CONFLICT (installation) DO UPDATE SET
        epoch = l.epoch + 1, holder = excluded.holder, elected_at = dataminer_now()
    RETURNING epoch
""")

_HOLD = text("SELECT epoch, holder FROM leaders WHERE installation = :installation FOR SHARE")
