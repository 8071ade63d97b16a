"""One look at a queue of a million tasks of a thousand projects, against counting its rows."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from data_miner.catalog.pulse import look, marks
from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from data_miner.pipeline import NAMES
from data_miner.postgres import Server

PROJECTS: Final = 1_000
TASKS: Final = 1_000_000
RESULTS: Final = 1_000_000
LATELY: Final = 50_000
"""Results of the last quarter of an hour."""

FILL: Final = (
    """INSERT INTO projects (name, spec, owner_installation, owner_uid)
       SELECT 'p' || i, '{}', 'here', 'u' || i FROM generate_series(1, :projects) i""",
    # Every project has recipes of its own from the filter on; what is before that is shared.
    """INSERT INTO recipes (stage, fingerprint, reuse_key)
       SELECT stage, stage || i, stage || i
       FROM pipeline() s CROSS JOIN generate_series(1, :projects) i
       WHERE s.place >= 4 OR i = 1""",
    """INSERT INTO project_stages (project_id, stage, recipe_id)
       SELECT p.project_id, r.stage, r.recipe_id FROM projects p
       JOIN recipes r ON r.fingerprint IN (r.stage || '1', r.stage || p.project_id)
       WHERE r.fingerprint = r.stage || p.project_id
          OR r.stage IN ('discover', 'download', 'extract', 'embed')""",
    """INSERT INTO videos (video_id, url, source_type)
       SELECT 'v' || i, 'https://x.test/' || i, 'URL' FROM generate_series(1, :tasks / 10) i""",
    """INSERT INTO project_videos (project_id, video_id)
       SELECT 1 + (i * 7919 + j) % :projects, 'v' || i
       FROM generate_series(1, :tasks / 10) i CROSS JOIN generate_series(0, 1) j""",
    """INSERT INTO tasks (stage, recipe_id, subject, project_id, video_id, state, run_at,
                          error_class, error, claimed_by, claimed_at, lease_until, heartbeat_at)
       SELECT s.stage, s.recipe_id, 'v' || i, s.project_id, 'v' || (1 + i % (:tasks / 10)), state,
              CASE WHEN state = 'waiting' THEN now() + interval '1 h' END,
              CASE WHEN state IN ('waiting', 'failed') THEN 'throttled' END,
              CASE WHEN state IN ('waiting', 'failed') THEN repeat('HTTP 429 ', 8) END,
              CASE WHEN state = 'running' THEN 'w' || i % 50 END,
              CASE WHEN state = 'running' THEN now() END,
              CASE WHEN state = 'running' THEN now() END,
              CASE WHEN state = 'running' THEN now() END
       FROM (SELECT i, 1 + i % :projects AS project_id, (ARRAY[:stages])[1 + i % 7] AS stage,
                    CASE WHEN i % 2000 = 0 THEN 'running' WHEN i % 10 = 0 THEN 'waiting'
                         WHEN i % 100 = 1 THEN 'failed' ELSE 'ready' END AS state
             FROM generate_series(1, :tasks) i) t
       JOIN project_stages s USING (project_id, stage)
       ON CONFLICT DO NOTHING""",
    """INSERT INTO results (recipe_id, subject, stage, project_id, video_id, outcome, started_at,
                            finished_at)
       SELECT r.recipe_id, 'old' || i, r.stage, 1, NULL, 'done', t - interval '5 s', t
       FROM (SELECT i, CASE WHEN i > :results - :lately
                       THEN now() - make_interval(secs => 900.0 * (:results - i) / :lately)
                       ELSE now() - make_interval(secs => :results - i + 900) END AS t
             FROM generate_series(1, :results) i) x
       CROSS JOIN LATERAL (SELECT recipe_id, stage FROM recipes WHERE fingerprint = 'download1') r
       ORDER BY i""",
    """INSERT INTO workers (worker_id, host, pid, pool, stages, slots, version)
       SELECT 'w' || i, 'node', i, 'default', '[]', 10, '1' FROM generate_series(0, 49) i""",
)


def fill(conn: Connection) -> None:
    """A thousand projects in the middle of their work."""
    given = {"projects": PROJECTS, "tasks": TASKS, "results": RESULTS, "lately": LATELY}
    stages = ", ".join(f"'{name}'" for name in NAMES[1:8])
    for statement in FILL:
        statement_with = statement.replace(":stages", stages)
        conn.execute(text(statement_with), {k: v for k, v in given.items() if f":{k}" in statement})


def best(action: Callable[[], object], rounds: int = 5) -> float:
    """The fastest of some rounds, in seconds: the machine has other work too."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        took.append(time.perf_counter() - began)
    return min(took)


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="dm-bench-"))
    home.chmod(0o711)  # as root, the server's account has to pass through
    try:
        with Server(home) as server:
            upgrade(server.url)
            engine = engine_for(server.url)
            with engine.begin() as conn:
                fill(conn)
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                conn.execute(text("VACUUM ANALYZE"))
                count = text("SELECT count(*) FROM tasks")
                tasks = conn.scalar(count)
                bound = best(lambda: conn.scalar(count))
            pulse = look(engine, installation="here", lost_after_seconds=60)
            took = best(lambda: look(engine, installation="here", lost_after_seconds=60))
            said = best(lambda: marks(pulse))
            engine.dispose()
        print(f"pulse, {tasks:,} tasks, {len(pulse.keys):,} projects, {len(pulse.depths):,} depths")
        print(f"  look   {took:6.3f} s  {took / bound:5.2f} of count(*), which takes {bound:.3f} s")
        print(f"  marks  {said:6.3f} s")
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
