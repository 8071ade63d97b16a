"""Claims and finishes a second with one worker, against bare commits on the same server."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from data_miner.postgres import Server
from data_miner.queue import Cursor, Finished, claim, finish

TASKS = 2_000


def fill(conn: Connection) -> None:
    """One project with ready downloads."""
    conn.execute(text("INSERT INTO projects (name, spec) VALUES ('bench', '{}')"))
    conn.execute(
        text("INSERT INTO recipes (stage, fingerprint, reuse_key) VALUES ('download', 'f', 'f')")
    )
    conn.execute(
        text(
            "INSERT INTO tasks (stage, recipe_id, subject, project_id, video_id)"
            " SELECT 'download', 1, 'v' || i, 1, 'v' || i FROM generate_series(1, :n) i"
        ),
        {"n": TASKS},
    )


def commits_per_second(engine: Engine, count: int = 300) -> float:
    """The bound: the smallest durable transaction there is."""
    started = time.perf_counter()
    for number in range(count):
        with engine.begin() as conn:
            conn.execute(text("UPDATE projects SET priority = :n"), {"n": number % 2})
    return count / (time.perf_counter() - started)


def tasks_per_second(engine: Engine, batch: int) -> float:
    """Claim a batch, commit, finish it, commit; no planning, no stage."""
    cursor, done, started = Cursor(), 0, time.perf_counter()
    while done < TASKS // 2:
        with engine.begin() as conn:
            taken = claim(
                conn,
                stages=["download"],
                worker_id="bench",
                limit=batch,
                lease_seconds=60,
                cursor=cursor,
            )
        if not taken:
            break
        with engine.begin() as conn:
            done += len(finish(conn, [Finished(t.id, t.claim_seq) for t in taken]))
    return done / (time.perf_counter() - started)


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="dm-bench-"))
    home.chmod(0o711)  # as root, the server's account has to pass through
    try:
        print("queue, tasks a second claimed and finished (bound: two commits a batch)")
        for batch in (1, 16):
            with Server(home / str(batch)) as server:
                upgrade(server.url)
                engine = engine_for(server.url)
                with engine.begin() as conn:
                    fill(conn)
                bound = commits_per_second(engine) / 2 * batch
                rate = tasks_per_second(engine, batch)
                engine.dispose()
            print(f"  batch {batch:>2}  {rate:8.0f}  {rate / bound:5.2f} of the bound")
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
