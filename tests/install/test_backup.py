"""A dump that is proven, a loss, and the way back, as the chart's page says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.product import DEMO_PROJECT
from support.release import Release

POOL = "data-miner-worker-default"
TABLES = """
    SELECT format('SELECT %L, count(*) FROM public.%I', relname, relname) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""


@pytest.fixture
def with_backup(release: Release) -> Iterator[Release]:
    """The shared release with a place for dumps."""
    release.install(backup={"enabled": True, "size": "1Gi"})
    yield release
    release.install()


def counts(release: Release) -> dict[str, int]:
    """Rows of each table that says what was mined; workers and leaders come and go."""
    found = {}
    for statement in release.sql(TABLES):
        table, number = release.sql(statement)[0].split("|")
        if table not in {"workers", "leaders", "events", "rate_budgets"}:
            found[table] = int(number)
    return found


def once(release: Release, what: str) -> str:
    """Run a CronJob by hand, now; what its pod said."""
    name = f"{what}-now"
    release.k("create", "job", f"--from=cronjob/{release.name}-{what}", name)
    limit = ("--for=condition=Complete", "--timeout=180s")
    release.k("wait", f"job/{name}", *limit, seconds=210)
    told = release.k("logs", f"job/{name}", "--all-containers")
    release.k("delete", "job", name)
    return told


@pytest.mark.timeout(900)
def test_what_was_mined_comes_back_out_of_a_dump_row_for_row(
    with_backup: Release, tmp_path: Path
) -> None:
    release = with_backup
    project = yaml.safe_load(DEMO_PROJECT.read_text(encoding="utf-8"))
    project["metadata"]["name"] = "precious"
    file = tmp_path / "precious.yaml"
    file.write_text(yaml.safe_dump(project), encoding="utf-8")
    release.apply(file)
    before = release.complete("precious", seconds=300)
    release.sized(POOL, 0)

    told = once(release, "backup")
    print(f"\n{told.strip()}")  # noqa: T201
    assert "tables restored and counted" in told
    saved = counts(release)
    assert saved["results"] > 0

    # The loss: everything that the project has made is forgotten, and more.
    release.sql("DELETE FROM datasets; DELETE FROM results; DELETE FROM projects")
    assert counts(release) != saved

    instance = f"app.kubernetes.io/instance={release.name}"
    release.k("scale", "deployment", f"--selector={instance}",
              "--replicas=0")  # fmt: skip
    gone = f"{instance},app.kubernetes.io/component in (operator,worker)"
    release.k("wait", "pods", f"--selector={gone}", "--for=delete", "--timeout=120s", seconds=150)
    told = once(release, "restore")
    print(told.strip())  # noqa: T201
    assert "is the database data_miner; what was there is data_miner_" in told
    assert counts(release) == saved

    release.k("scale", f"deployment/{release.name}-operator", "--replicas=2")
    release.k("rollout", "status", f"deployment/{release.name}-operator", "--timeout=120s",
              seconds=150)  # fmt: skip
    after = release.complete("precious")
    assert after["status"]["dataset"] == before["status"]["dataset"]
    release.sized(POOL, 0)
    kept = release.sql("SELECT datname FROM pg_database WHERE datname LIKE 'data\\_miner\\_%'")
    assert len(kept) == 1, "what was there before stays"
    release.sql(f'DROP DATABASE "{kept[0]}"')
    release.k("delete", "mp", "precious")
