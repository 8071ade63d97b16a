"""Tables of the catalogue and of the queue. docs/architecture.md has the picture.

`tasks` holds live work and dead letters only. A result row is the fact that work is done or
skipped; it outlives the task. `(recipe_id, subject)` is the one key of both. Everything else
that one could call status is computed by views.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

NOW = text("dataminer_now()")
EMPTY = text("'{}'::jsonb")


def _c_text(name: str, *args: Any, **kwargs: Any) -> Column[str]:
    """Text that sorts by code point, so that order is the same on every machine."""
    return Column(name, Text(collation="C"), *args, **kwargs)


def _time(name: str, **kwargs: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), **kwargs)


clock = Table(
    "clock",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    Column("shift", Interval, nullable=False, server_default=text("'00:00:00'::interval")),
    CheckConstraint("one", name="one"),
)
"""One row: how far `dataminer_now()` is ahead of the server's clock. Only tests move it."""

schema_support = Table(
    "schema_support",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    _c_text(
        "oldest_program",
        nullable=False,
        comment="programs whose own revision is this one or a later one can work on this schema",
    ),
    CheckConstraint("one", name="one"),
)
"""One row: which programs of earlier releases may work on this schema."""

projects = Table(
    "projects",
    metadata,
    Column("project_id", Integer, Identity(always=True), primary_key=True),
    _c_text("namespace", nullable=False, server_default="default"),
    _c_text("name", nullable=False),
    Column("spec", JSONB, nullable=False),
    Column("generation", BigInteger, nullable=False, server_default="1"),
    Column("weight", REAL, nullable=False, server_default="1"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("suspended", Boolean, nullable=False, server_default="false"),
    Column("target_images", Integer),
    Column("wave_epoch", Integer, nullable=False, server_default="1"),
    Column("owner_uid", Text),
    # Nobody reads it: `leaders` fences. It stays for programs of an earlier revision.
    Column("leader_epoch", BigInteger, nullable=False, server_default="0"),
    _time("created_at", nullable=False, server_default=NOW),
    _time("updated_at", nullable=False, server_default=NOW),
    _time("deleted_at"),
    Column("owner_installation", Text),
    Column("applied_digest", Text),
    Column("retried_token", Text),
    UniqueConstraint("namespace", "name"),
    CheckConstraint("weight > 0", name="weight"),
    CheckConstraint("target_images IS NULL OR target_images > 0", name="target_images"),
    Index(
        "projects_owner_installation",
        "owner_installation",
        postgresql_where=text("owner_installation IS NOT NULL"),
    ),
)

leaders = Table(
    "leaders",
    metadata,
    Column("installation", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    _time("elected_at", nullable=False, server_default=NOW),
    CheckConstraint("epoch > 0", name="epoch"),
)

recipes = Table(
    "recipes",
    metadata,
    Column("recipe_id", Integer, Identity(always=True), primary_key=True),
    Column("stage", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("reuse_key", Text, nullable=False),
    Column("params", JSONB, nullable=False, server_default=EMPTY),
    Column("upstream_id", Integer, ForeignKey("recipes.recipe_id")),
    _time("created_at", nullable=False, server_default=NOW),
    Index("recipes_reuse_key", "reuse_key"),
)

project_stages = Table(
    "project_stages",
    metadata,
    Column(
        "project_id",
        Integer,
        ForeignKey("projects.project_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("stage", Text, nullable=False),
    Column("recipe_id", Integer, ForeignKey("recipes.recipe_id"), nullable=False),
    Column("reads", Text),
    Column("ends_member", Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("project_id", "stage"),
    Index("project_stages_recipe_id", "recipe_id"),
    Index(
        "project_stages_one_end",
        "project_id",
        unique=True,
        postgresql_where=text("ends_member"),
    ),
)

videos = Table(
    "videos",
    metadata,
    _c_text("video_id", primary_key=True),
    Column("url", Text, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("source_info", Text),
    Column("title", Text),
    Column("metadata", JSONB, nullable=False, server_default=EMPTY),
    _time("created_at", nullable=False, server_default=NOW),
    _time("updated_at", nullable=False, server_default=NOW),
    CheckConstraint("source_type IN ('SEARCH','URL','FILE','MANUAL')", name="source_type"),
)

waves = Table(
    "waves",
    metadata,
    Column("wave_id", Integer, Identity(always=True), primary_key=True),
    Column(
        "project_id",
        Integer,
        ForeignKey("projects.project_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("epoch", Integer, nullable=False),
    Column("n", Integer, nullable=False),
    _time("sealed_at", nullable=False, server_default=NOW),
    UniqueConstraint("project_id", "epoch", "n"),
    CheckConstraint("n > 0", name="n"),
)

project_videos = Table(
    "project_videos",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column(
        "project_id",
        Integer,
        ForeignKey("projects.project_id", ondelete="CASCADE"),
        nullable=False,
    ),
    _c_text("video_id", ForeignKey("videos.video_id"), nullable=False),
    Column("wave_id", Integer, ForeignKey("waves.wave_id")),
    Column("wave_position", Integer),
    Column("source_sha256", Text),
    Column("skip_reason", Text),
    _time("created_at", nullable=False, server_default=NOW),
    UniqueConstraint("project_id", "video_id"),
    CheckConstraint("(wave_id IS NULL) = (wave_position IS NULL)", name="wave_position"),
    CheckConstraint("wave_id IS NULL OR skip_reason IS NULL", name="skipped_has_no_wave"),
    Index("project_videos_video_id", "video_id"),
    Index(
        "project_videos_unadmitted",
        "project_id",
        postgresql_where=text("wave_id IS NULL AND skip_reason IS NULL"),
    ),
    # Whether a wave has ended is asked from the highest video down: that one is worked on last.
    Index("project_videos_wave_id", "wave_id", "video_id"),
)

project_sources = Table(
    "project_sources",
    metadata,
    Column(
        "project_id",
        Integer,
        ForeignKey("projects.project_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("recipe_id", Integer, ForeignKey("recipes.recipe_id"), nullable=False),
    Column("source_index", Integer, nullable=False),
    _c_text("video_id", ForeignKey("videos.video_id"), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("query", Text),
    _time("found_at", nullable=False, server_default=NOW),
    PrimaryKeyConstraint("project_id", "recipe_id", "source_index", "video_id"),
    Index("project_sources_video_id", "video_id"),
)

results = Table(
    "results",
    metadata,
    Column("recipe_id", Integer, ForeignKey("recipes.recipe_id"), nullable=False),
    _c_text("subject", nullable=False),
    Column("stage", Text, nullable=False),
    Column("project_id", Integer),
    _c_text("video_id"),
    Column("wave_id", Integer),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("frames", Integer),
    Column("facts", JSONB, nullable=False, server_default=EMPTY),
    Column("cost", JSONB, nullable=False, server_default=EMPTY),
    Column("attempts", Integer, nullable=False, server_default="1"),
    _time("started_at"),
    _time("finished_at", nullable=False, server_default=NOW),
    Column("processed_by", Text),
    _time("gone_at"),
    PrimaryKeyConstraint("recipe_id", "subject"),
    CheckConstraint("outcome IN ('done','skipped')", name="outcome"),
    CheckConstraint("(outcome = 'skipped') = (reason IS NOT NULL)", name="reason"),
    Index("results_video_id", "video_id", postgresql_where=text("video_id IS NOT NULL")),
    Index("results_wave_id", "wave_id", postgresql_where=text("wave_id IS NOT NULL")),
    Index(
        "results_finished_at",
        "finished_at",
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 16, "autosummarize": "on"},
    ),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("artifact_id", BigInteger, Identity(always=True), primary_key=True),
    Column("recipe_id", Integer, nullable=False),
    _c_text("subject", nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("media", JSONB, nullable=False, server_default=EMPTY),
    Column("generation", Integer, nullable=False, server_default="1"),
    _time("created_at", nullable=False, server_default=NOW),
    _time("deleted_at"),
    Index("artifacts_result", "recipe_id", "subject"),
    Index("artifacts_sha256", "sha256"),
    CheckConstraint("bytes >= 0", name="bytes"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("stage", Text, nullable=False),
    Column("recipe_id", Integer, ForeignKey("recipes.recipe_id"), nullable=False),
    _c_text("subject", nullable=False),
    Column("project_id", Integer, nullable=False),
    _c_text("video_id"),
    Column("wave_id", Integer),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="ready"),
    Column("claim_seq", Integer, nullable=False, server_default="0"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("lost_count", Integer, nullable=False, server_default="0"),
    _time("run_at"),
    Column("claimed_by", Text),
    _time("claimed_at"),
    _time("lease_until"),
    _time("heartbeat_at"),
    Column("step", Text),
    Column("progress", REAL),
    Column("message", Text),
    _time("eta"),
    Column("checkpoint", JSONB),
    Column("error_class", Text),
    Column("error", Text),
    Column("trace", Text),
    _time("created_at", nullable=False, server_default=NOW),
    _time("started_at"),
    Column(
        "traceparent",
        Text,
        server_default=text(
            "NULLIF(current_setting('dataminer.traceparent'::text, true), ''::text)"
        ),
        comment="W3C trace context of the span that planned the task; kept by all its tries",
    ),
    Column("spent", JSONB, comment="cost of the tries so far, by counter as in results.cost"),
    CheckConstraint("state IN ('ready','waiting','running','failed')", name="state"),
    CheckConstraint(
        "(state = 'running') = (claimed_by IS NOT NULL AND claimed_at IS NOT NULL"
        " AND lease_until IS NOT NULL AND heartbeat_at IS NOT NULL)",
        name="running_is_owned",
    ),
    CheckConstraint(
        "(claimed_by IS NULL) = (lease_until IS NULL)"
        " AND (claimed_by IS NULL) = (claimed_at IS NULL)"
        " AND (claimed_by IS NULL) = (heartbeat_at IS NULL)",
        name="owner_is_whole",
    ),
    CheckConstraint("(state = 'waiting') = (run_at IS NOT NULL)", name="waiting_has_time"),
    CheckConstraint("state <> 'failed' OR error_class IS NOT NULL", name="failed_has_class"),
    CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
    CheckConstraint("claim_seq >= 0 AND attempt >= 0 AND lost_count >= 0", name="counters"),
    Index("tasks_key", "recipe_id", "subject", unique=True),
    Index(
        "tasks_ready",
        "stage",
        "project_id",
        text("priority DESC"),
        "id",
        postgresql_where=text("state = 'ready' AND lost_count < 2"),
    ),
    Index(
        "tasks_suspect",
        "stage",
        "id",
        postgresql_where=text("state = 'ready' AND lost_count >= 2"),
    ),
    Index("tasks_running", "stage", "project_id", postgresql_where=text("state = 'running'")),
    Index("tasks_waiting", "run_at", postgresql_where=text("state = 'waiting'")),
    Index("tasks_project_id", "project_id"),
    Index("tasks_failed", "project_id", postgresql_where=text("state = 'failed'")),
    Index("tasks_video_id", "video_id", postgresql_where=text("video_id IS NOT NULL")),
    Index("tasks_wave_id", "wave_id", postgresql_where=text("wave_id IS NOT NULL")),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "2000",
        "autovacuum_vacuum_cost_delay": "0",
    },
)
# Never index lease_until, heartbeat_at, progress or checkpoint: a heartbeat must stay a HOT update.

workers = Table(
    "workers",
    metadata,
    Column("worker_id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pool", Text, nullable=False),
    Column("stages", JSONB, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("version", Text, nullable=False),
    _time("started_at", nullable=False, server_default=NOW),
    _time("seen_at", nullable=False, server_default=NOW),
    _time("stopped_at"),
    _time("disabled_at"),
    Column("drain", Boolean, nullable=False, server_default="false"),
)

events = Table(
    "events",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    _time("at", nullable=False, server_default=NOW),
    Column("kind", Text, nullable=False),
    Column("project_id", Integer),
    _c_text("video_id"),
    Column("stage", Text),
    _c_text("subject"),
    Column("worker_id", Text),
    Column("details", JSONB, nullable=False, server_default=EMPTY),
    Index("events_project_id", "project_id", "event_id"),
    Index("events_video_id", "video_id", postgresql_where=text("video_id IS NOT NULL")),
)

datasets = Table(
    "datasets",
    metadata,
    Column("dataset_id", Integer, Identity(always=True), primary_key=True),
    Column(
        "project_id",
        Integer,
        ForeignKey("projects.project_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("version", Integer, nullable=False),
    Column("recipe_id", Integer, ForeignKey("recipes.recipe_id"), nullable=False),
    Column("wave_id", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("images", Integer, nullable=False),
    Column("uri", Text, nullable=False),
    Column("summary", JSONB, nullable=False, server_default=EMPTY),
    _time("created_at", nullable=False, server_default=NOW),
    UniqueConstraint("project_id", "version"),
    Index("datasets_recipe_id", "recipe_id", "wave_id"),
    CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest"),
)

dataset_removals = Table(
    "dataset_removals",
    metadata,
    Column("uri", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    _time("asked_at", nullable=False, server_default=NOW),
    _time("started_at"),
    Column("error", Text),
    CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest"),
)

models = Table(
    "models",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("card", JSONB, nullable=False),
    _time("created_at", nullable=False, server_default=NOW),
    _time("last_used_at"),
    Index("models_name", "name"),
)

rate_budgets = Table(
    "rate_budgets",
    metadata,
    Column("site", Text, primary_key=True),
    Column("tokens", REAL, nullable=False),
    Column("per_minute", REAL, nullable=False),
    _time("refilled_at", nullable=False, server_default=NOW),
    _time("open_until"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    CheckConstraint("tokens >= 0 AND per_minute > 0", name="budget"),
)
