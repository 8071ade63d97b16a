"""The operator's metrics. Labels are bounded: kinds, verbs, codes and stages; what is told of each
project, by the leader alone, is in `project_metrics`.

Everything is counted where it happens or copied from a snapshot that is there anyway: a scrape
asks neither PostgreSQL nor the API server.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

from data_miner.catalog.pulse import Pulse
from data_miner.project_metrics import PROJECT_METRICS
from data_miner.telemetry import new_registry
from data_miner_operator.facts import Key
from data_miner_operator.scaling.report import ScalingReport

REGISTRY: Final = new_registry()
"""What the operator tells."""
_QUEUE_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60)
_RECONCILE_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, registry=REGISTRY, buckets=buckets)


# As controller-runtime names them, so that dashboards made for it work.
WORKQUEUE_DEPTH = _gauge("workqueue_depth", "Keys that wait to be processed.", "name")
WORKQUEUE_ADDS = _counter("workqueue_adds", "Keys added.", "name")
WORKQUEUE_QUEUED_SECONDS = _histogram(
    "workqueue_queue_duration_seconds", "Time that a key waited.", _QUEUE_SECONDS, "name"
)
WORKQUEUE_WORK_SECONDS = _histogram(
    "workqueue_work_duration_seconds", "Time that a key was processed.", _QUEUE_SECONDS, "name"
)
WORKQUEUE_UNFINISHED_SECONDS = _gauge(
    "workqueue_unfinished_work_seconds", "Time spent so far on keys in hand, summed.", "name"
)
WORKQUEUE_LONGEST_SECONDS = _gauge(
    "workqueue_longest_running_processor_seconds", "Time of the key longest in hand.", "name"
)
WORKQUEUE_RETRIES = _counter("workqueue_retries", "Keys put back after a failure.", "name")

API_REQUESTS = _counter(
    "dataminer_api_requests",
    "Requests to the API server by outcome; watches are not counted.",
    "verb",
    "resource",
    "code",
)
RECONCILES = _counter("dataminer_reconcile", "Reconciles by result.", "result")
RECONCILE_SECONDS = _histogram(
    "dataminer_reconcile_duration_seconds", "Time of one reconcile.", _RECONCILE_SECONDS
)
RECONCILE_ERRORS = _counter("dataminer_reconcile_errors", "Failed reconciles by cause.", "reason")
ACTIONS = _counter("dataminer_operator_actions", "What reconciles have done.", "action")
STATUS_WRITES = _counter("dataminer_status_writes", "Status writes to the API server.")
EVENTS = _counter("dataminer_operator_events", "Kubernetes Events by fate.", "result")
LAST_RESYNC = _gauge(
    "dataminer_last_resync_timestamp_seconds", "When everything was last listed, Unix time."
)
WATCH_LAST_EVENT = _gauge(
    "dataminer_watch_last_event_timestamp_seconds",
    "When a watch last brought something, Unix time.",
    "resource",
)
WATCH_RESTARTS = _counter("dataminer_watch_restarts", "Times that the watches were begun anew.")
WATCH_MISSED = _counter(
    "dataminer_watch_missed",
    "Changes that a resync found and no watch had told.",
    "resource",
)
LEADER = _gauge("dataminer_leader", "1 on the replica that acts.")
LOOP_LAG = _gauge(
    "dataminer_event_loop_lag_seconds", "How late the event loop last came to a timer."
)

PROJECTS = _gauge("dataminer_projects", "MiningProjects in the cluster.")
GENERATION_LAG = _gauge(
    "dataminer_project_observed_generation_lag",
    "Number of MiningProjects whose newest edit is not yet in their status.",
)
QUEUE_DEPTH = _gauge(
    "dataminer_queue_depth", "Tasks by stage and state; told by the leader.", "stage", "state"
)
QUEUE_OLDEST = _gauge(
    "dataminer_queue_oldest_seconds", "Age of the oldest ready task of a stage.", "stage"
)
QUEUE_DRAIN = _gauge(
    "dataminer_queue_drain_estimate_seconds",
    "Ready and waiting tasks of a stage over the rate at which they ended of late.",
    "stage",
)
STAGE_MEAN_SECONDS = _gauge(
    "dataminer_queue_stage_seconds", "Measured mean time of one task, last minutes.", "stage"
)
WORKERS = _gauge("dataminer_workers", "Workers that have been heard of lately.", "state")
HEARTBEAT_AGE = _gauge(
    "dataminer_heartbeat_age_seconds", "Longest silence of a worker that counts as alive."
)
PULSE_SECONDS = _gauge("dataminer_pulse_seconds", "Time of the last look at the queue.")
PULSE_AT = _gauge(
    "dataminer_pulse_timestamp_seconds", "When the queue was last looked at, Unix time."
)
POOL_REPLICAS = _gauge(
    "dataminer_pool_replicas",
    "Replicas of a worker pool: desired by its need, current as written, ready.",
    "namespace",
    "pool",
    "kind",
)
POOL_BACKLOG = _gauge(
    "dataminer_pool_backlog_seconds",
    "Time that one slot would take for a pool's share of the queue.",
    "namespace",
    "pool",
)
POOL_DRAINING = _gauge(
    "dataminer_pool_draining_workers", "Workers of a pool that shall go.", "namespace", "pool"
)
SCALE_BLOCKED = _gauge(
    "dataminer_scale_blocked", "Pools that a reason keeps from the size they need.", "reason"
)
SCALE_EVENTS = _counter(
    "dataminer_scale_events", "Changes of a pool's size.", "direction", "reason"
)
SCALE_STEPS = _counter("dataminer_scale_steps", "Times that the size of all pools was decided on.")
SCALE_STOPPED_BUSY = _gauge(
    "dataminer_scale_stopped_busy",
    "Workers stopped with work in hand, for their time to finish was over; since the start.",
)
SCHEMA_MATCHES = _gauge(
    "dataminer_schema_revision_matches",
    "0 when the database, last asked, had a schema that this operator cannot work on; else 1.",
)
SCHEMA_MATCHES.set(1)  # who stands by does not ask
DATABASE_AWAY = _counter("dataminer_database_away", "Times that PostgreSQL could not be asked.")

for _reason in ("api", "conflict", "database", "defect", "timeout"):
    # From nothing to one is no increase to Prometheus.
    RECONCILE_ERRORS.labels(_reason)

_STATES: Final = ("ready", "running", "waiting", "throttled", "failed")


Values = Mapping[tuple[str, ...], float]
_told: dict[int, set[tuple[str, ...]]] = {}


def _tell(family: Gauge, values: Values) -> None:
    """Set a family to these values; series that are not among them end. A scrape in between sees
    the old or the new value of each, never a gap."""
    for labels, value in values.items():
        family.labels(*labels).set(value)
    for labels in _told.get(id(family), set()) - values.keys():
        family.remove(*labels)
    _told[id(family)] = set(values)


def tell_pulse(pulse: Pulse, at: float) -> None:
    """Copy one look at the queue."""
    depths: Tally[tuple[str, ...]] = Tally()
    oldest: dict[tuple[str, ...], float] = {}
    for depth in pulse.depths:
        stage = (depth.stage,)
        for state in _STATES:
            depths[depth.stage, state] += getattr(depth, state)
        if depth.oldest_ready_seconds is not None:
            oldest[stage] = max(oldest.get(stage, 0.0), depth.oldest_ready_seconds)
    draining: Values = {
        (stage,): (depths[stage, "ready"] + depths[stage, "waiting"]) / rate
        for stage, rate in pulse.finished_per_second.items()
        if rate > 0
    }
    _tell(QUEUE_DEPTH, depths)
    _tell(QUEUE_OLDEST, oldest)
    _tell(QUEUE_DRAIN, draining)
    _tell(STAGE_MEAN_SECONDS, {(stage,): mean for stage, mean in pulse.stage_seconds.items()})
    going = sum(1 for worker in pulse.workers if worker.drain)
    _tell(WORKERS, {("active",): len(pulse.workers) - going, ("draining",): going})
    HEARTBEAT_AGE.set(max((worker.seen_seconds for worker in pulse.workers), default=0.0))
    PULSE_SECONDS.set(pulse.took_seconds)
    PULSE_AT.set(at)


def tell_projects(objects: Mapping[Key, Mapping[str, Any]]) -> None:
    """Copy what the status of each MiningProject says."""
    PROJECT_METRICS.tell_objects(objects)
    PROJECTS.set(len(objects))
    GENERATION_LAG.set(
        sum(
            (found.get("status") or {}).get("observedGeneration")
            != found["metadata"].get("generation")
            for found in objects.values()
        )
    )


def tell_scaling(report: ScalingReport, before: ScalingReport | None) -> None:
    """Copy what the scaler has done; counts grow by what is new since `before`."""
    replicas: dict[tuple[str, ...], float] = {}
    for pool in report.pools:
        where = (pool.namespace, pool.pool)
        replicas[*where, "desired"] = pool.desired
        replicas[*where, "current"] = pool.current
        replicas[*where, "ready"] = pool.ready
    _tell(POOL_REPLICAS, replicas)
    _tell(POOL_BACKLOG, {(p.namespace, p.pool): p.backlog_seconds for p in report.pools})
    _tell(POOL_DRAINING, {(p.namespace, p.pool): p.draining for p in report.pools})
    _tell(SCALE_BLOCKED, {(str(reason),): number for reason, number in report.blocked.items()})
    known = before.scaled if before is not None else {}
    for (direction, cause), number in report.scaled.items():
        new = number - known.get((direction, cause), 0)
        SCALE_EVENTS.labels(str(direction), str(cause)).inc(max(0, new))
    SCALE_STOPPED_BUSY.set(report.stopped_busy)
    SCALE_STEPS.inc()


def forget_office() -> None:
    """Tell nothing more of what only the leader knows."""
    for family in _OF_OFFICE:
        _tell(family, {})
    PROJECT_METRICS.forget()


_OF_OFFICE: Final = (
    QUEUE_DEPTH,
    QUEUE_OLDEST,
    QUEUE_DRAIN,
    STAGE_MEAN_SECONDS,
    WORKERS,
    POOL_REPLICAS,
    POOL_BACKLOG,
    POOL_DRAINING,
    SCALE_BLOCKED,
)
