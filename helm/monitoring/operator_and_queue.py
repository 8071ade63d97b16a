"""For whoever runs it: the operator's replicas, the queue, and the sizes of the pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.models import dashboard as model

from monitoring import looks
from monitoring.expressions import OPERATOR, RATE, added_up, among, quantile, rate, select
from monitoring.layout import Row, board, choice
from monitoring.overview import OPERATOR_UID
from monitoring.panels import Column, Line, Panel, chart, grid, tile

LEADER: Final = "dataminer_leader"
_SEVERITIES: Final = {"critical": "red", "warning": "orange", "info": "blue"}
_ALERTS: Final = 'ALERTS{alertname=~"DataMiner.*"}'


def operator_and_queue(runbooks: str) -> model.Dashboard:
    """What only a cluster has: an operator. On a laptop it stays empty."""
    return board(
        OPERATOR_UID,
        "data-miner / Operator and queue",
        "Whether the operator does its work, how long the queue is, and how large the pools are.",
        [choice("namespace", "Namespace of the release", LEADER)],
        [
            Row("", [*_tiles(), _alerts()]),
            Row("Queue", _queue()),
            Row("Pools", _pools()),
            Row("Leases", _leases()),
            Row("Reconcile", _reconcile()),
            Row("Work queue of the operator", _keys()),
            Row("API server and database", _api()),
        ],
        runbooks=runbooks,
    )


def _own(metric: str, where: str = "") -> str:
    return select(metric, OPERATOR, where)


def _tiles() -> Sequence[Panel]:
    return [
        tile(
            "Leader",
            "The replica that acts.",
            f"max by (pod, instance) ({_own(LEADER)}) == 1",
            unit="none",
            name="{{pod}}",
            steps=looks.GOOD,
            no_value="no leader",
            runbook="DataMinerNoLeader",
        ),
        tile(
            "Replicas",
            "Replicas of the operator that answer.",
            f"count({_own(LEADER)})",
            unit="short",
            steps=((None, "red"), (1, "green")),
            no_value="none",
            runbook="DataMinerOperatorDown",
        ),
        tile(
            "Last resync",
            "How long ago everything was last listed.",
            f"time() - max({_own('dataminer_last_resync_timestamp_seconds')} > 0)",
            unit="s",
            decimals=0,
            steps=((None, "green"), (600, "yellow"), (1800, "red")),
            runbook="DataMinerReconcileStalled",
        ),
        tile(
            "Last look at the queue",
            "How long ago the leader last looked at the queue.",
            f"time() - max({_own('dataminer_pulse_timestamp_seconds')} > 0)",
            unit="s",
            decimals=0,
            steps=((None, "green"), (60, "yellow"), (300, "red")),
            runbook="DataMinerQueueNotLookedAt",
        ),
        tile(
            "Database schema",
            "Whether the database has the revision that the operator knows.",
            f"min({_own('dataminer_schema_revision_matches')})",
            unit="none",
            steps=((None, "red"), (1, "green")),
            words=looks.texts({"0": "another one", "1": "as known"}),
            no_value="not asked yet",
            runbook="DataMinerSchemaVersionMismatch",
        ),
        tile(
            "Projects",
            "MiningProjects in the cluster.",
            f"max({_own('dataminer_projects')})",
            unit="locale",
            no_value="none",
        ),
    ]


def _alerts() -> Panel:
    return grid(
        "Alerts",
        "Alerts of data-miner that fire, or are about to; a click opens what to do.",
        Column(
            "Alert",
            label="alertname",
            link=f"${{{looks.RUNBOOKS}}}/${{__data.fields.alertname}}.md",
            link_title="Open its runbook",
        ),
        Column(
            "Severity",
            label="severity",
            words=looks.texts({name: name for name in _SEVERITIES}, _SEVERITIES),
            width=110,
        ),
        Column("State", label="alertstate", width=110),
        Column("Namespace", label="namespace", width=170),
        Column("Project", label="project", width=200),
        Column("Pool", label="pool", width=130),
        Column("Stage", label="stage", width=130),
        Column("Reason", label="reason", width=170),
        Column(
            "",
            expression="max by (alertname, severity, alertstate, namespace, project, pool, stage, "
            f"reason) ({_ALERTS})",
        ),
        size=(24, 6),
        sort=("Severity", False),
        no_value="nothing fires",
    )


def _queue() -> Sequence[Panel]:
    depth = _own("dataminer_queue_depth", among("state", "ready|running|waiting"))
    return [
        chart(
            "Depth by stage",
            "Tasks that are not ended yet.",
            Line(f"sum by (stage) (max by (stage, state) ({depth}))", "{{stage}}"),
            unit="locale",
            stacked=True,
            no_value="nothing is left to do",
            runbook="DataMinerBacklogNotDraining",
        ),
        chart(
            "Depth by state",
            "Throttled are those of the waiting ones that a site has put off.",
            Line(
                f"sum by (state) (max by (stage, state) ({_own('dataminer_queue_depth')}))",
                "{{state}}",
            ),
            unit="locale",
            colors=looks.STATES,
            no_value="nothing is left to do",
            runbook="DataMinerDownloadsBlocked",
        ),
        chart(
            "Oldest ready task",
            "How long the task that has waited longest for a worker has done so.",
            Line(f"max by (stage) ({_own('dataminer_queue_oldest_seconds')})", "{{stage}}"),
            unit="s",
            no_value="nothing waits",
            runbook="DataMinerBacklogAgeHigh",
        ),
        chart(
            "Time until it is empty",
            "What is ready or put off, over the rate at which tasks ended of late.",
            Line(f"max by (stage) ({_own('dataminer_queue_drain_estimate_seconds')})", "{{stage}}"),
            unit="s",
            no_value="nothing has ended lately",
            runbook="DataMinerBacklogNotDraining",
        ),
    ]


def _pools() -> Sequence[Panel]:
    pool = "{{pool}}"
    changes = f"increase({_own('dataminer_scale_events_total')}[{RATE}])"
    return [
        chart(
            "Size of each pool",
            "Workers that a pool needs by its backlog, has been given, and has ready.",
            Line(
                f"max by (namespace, pool, kind) ({_own('dataminer_pool_replicas')})",
                "{{pool}} {{kind}}",
            ),
            unit="short",
            stepped=True,
            decimals=0,
            no_value="no pool",
            runbook="DataMinerWorkersUnschedulable",
        ),
        chart(
            "Backlog of each pool",
            "Time that one slot would take for the pool's share of the queue.",
            Line(f"max by (namespace, pool) ({_own('dataminer_pool_backlog_seconds')})", pool),
            unit="s",
            no_value="no pool",
            runbook="DataMinerBacklogAgeHigh",
        ),
        chart(
            "Held back, by reason",
            "Pools that do not get the size that they need; docs/scaling.md explains each reason.",
            Line(f"max by (reason) ({_own('dataminer_scale_blocked')})", "{{reason}}"),
            unit="short",
            stepped=True,
            decimals=0,
            no_value="no pool is held back",
            runbook="DataMinerPoolBlocked",
        ),
        chart(
            "Changes of size",
            "How often pools grew and shrank, and why.",
            Line(added_up(changes, "direction", "reason"), "{{direction}}: {{reason}}"),
            unit="short",
            bars=True,
            stacked=True,
            no_value="no change",
        ),
    ]


def _leases() -> Sequence[Panel]:
    lost = rate("dataminer_queue_leases_lost_total", of=OPERATOR)
    return [
        chart(
            "Workers",
            "Workers that have been heard of lately: active ones, and those that are to go.",
            Line(f"max by (state) ({_own('dataminer_workers')})", "{{state}}"),
            unit="short",
            size=(8, 7),
            stepped=True,
            decimals=0,
            colors={"active": "green", "draining": "yellow"},
            no_value="no worker",
            runbook="DataMinerHeartbeatsMissing",
        ),
        chart(
            "Longest silence",
            "The longest time that a worker which counts as alive has not been heard of.",
            Line(f"max({_own('dataminer_heartbeat_age_seconds')})", "silence"),
            unit="s",
            size=(8, 7),
            runbook="DataMinerHeartbeatsMissing",
        ),
        chart(
            "Leases that ran out",
            "Tasks taken back from workers that vanished, and those that came back too late.",
            Line(f"{rate('dataminer_queue_rescued_total', of=OPERATOR)} * 60", "taken back"),
            Line(f"{lost} * 60", "came back too late"),
            unit="suffix:/min",
            size=(8, 7),
            colors={"taken back": "red", "came back too late": "orange"},
            runbook="DataMinerLeaseExpiryHigh",
        ),
    ]


def _reconcile() -> Sequence[Panel]:
    seconds = "dataminer_reconcile_duration_seconds"
    return [
        chart(
            "Reconciles",
            "Looks at projects, by result.",
            Line(rate("dataminer_reconcile_total", "result", of=OPERATOR), "{{result}}"),
            unit="ops",
            size=(8, 7),
            colors={"success": "green", "error": "red"},
            runbook="DataMinerReconcileStalled",
        ),
        chart(
            "Time of a reconcile",
            "What half of them, 95 and 99 of 100 stay below.",
            Line(quantile(0.99, seconds, of=OPERATOR), "99 %"),
            Line(quantile(0.95, seconds, of=OPERATOR), "95 %"),
            Line(quantile(0.5, seconds, of=OPERATOR), "half"),
            unit="s",
            size=(8, 7),
        ),
        chart(
            "Errors, by reason",
            "Reconciles that failed.",
            Line(rate("dataminer_reconcile_errors_total", "reason", of=OPERATOR), "{{reason}}"),
            unit="ops",
            size=(8, 7),
            no_value="no error",
            runbook="DataMinerReconcileErrors",
        ),
        chart(
            "What reconciles have done",
            "Actions on the catalogue and on the cluster, by kind.",
            Line(rate("dataminer_operator_actions_total", "action", of=OPERATOR), "{{action}}"),
            unit="ops",
            stacked=True,
        ),
        chart(
            "Writes that people see",
            "Status writes, and Kubernetes Events by their fate.",
            Line(rate("dataminer_status_writes_total", of=OPERATOR), "status"),
            Line(
                rate("dataminer_operator_events_total", "result", of=OPERATOR), "Event: {{result}}"
            ),
            unit="ops",
        ),
    ]


def _keys() -> Sequence[Panel]:
    name = "{{name}}"
    return [
        chart(
            "Depth",
            "Keys that wait to be processed.",
            Line(f"sum by (name) ({_own('workqueue_depth')})", name),
            unit="short",
            size=(6, 7),
            runbook="DataMinerReconcileStalled",
        ),
        chart(
            "Wait of a key",
            "What 95 of 100 keys wait at most before they are processed.",
            Line(quantile(0.95, "workqueue_queue_duration_seconds", "name", of=OPERATOR), name),
            unit="s",
            size=(6, 7),
        ),
        chart(
            "Longest in hand",
            "How long the key that is longest in hand has been processed.",
            Line(f"max by (name) ({_own('workqueue_longest_running_processor_seconds')})", name),
            unit="s",
            size=(6, 7),
        ),
        chart(
            "Retries",
            "Keys that were put back after a failure.",
            Line(rate("workqueue_retries_total", "name", of=OPERATOR), name),
            unit="ops",
            size=(6, 7),
            runbook="DataMinerReconcileErrors",
        ),
    ]


def _api() -> Sequence[Panel]:
    silence = (
        f"time() - max by (resource) ({_own('dataminer_watch_last_event_timestamp_seconds')} > 0)"
    )
    return [
        chart(
            "Requests, by answer",
            "Requests to the API server by their code; watches are not counted.",
            Line(rate("dataminer_api_requests_total", "code", of=OPERATOR), "{{code}}"),
            unit="reqps",
            size=(8, 7),
            stacked=True,
        ),
        chart(
            "Requests, by resource",
            "Requests to the API server by what they are about.",
            Line(
                rate("dataminer_api_requests_total", "verb", "resource", of=OPERATOR),
                "{{verb}} {{resource}}",
            ),
            unit="reqps",
            size=(8, 7),
            stacked=True,
        ),
        chart(
            "Silence of the watches",
            "How long ago a watch last brought something; nothing may have happened since.",
            Line(silence, "{{resource}}"),
            unit="s",
            size=(8, 7),
            runbook="DataMinerWatchSilent",
        ),
        chart(
            "Changes that no watch told",
            "Found by a resync, per minute.",
            Line(
                f"{rate('dataminer_watch_missed_total', 'resource', of=OPERATOR)} * 60",
                "{{resource}}",
            ),
            unit="suffix:/min",
            size=(8, 7),
            no_value="none",
            runbook="DataMinerWatchSilent",
        ),
        chart(
            "Database away",
            "Times a minute that PostgreSQL could not be asked, by the operator.",
            Line(f"{rate('dataminer_database_away_total', of=OPERATOR)} * 60", "away"),
            unit="suffix:/min",
            size=(8, 7),
            colors={"away": "red"},
            runbook="DataMinerDatabaseUnreachable",
        ),
        chart(
            "Lag of the event loop",
            "How late the operator's event loop last came to a timer.",
            Line(f"max by (pod) ({_own('dataminer_event_loop_lag_seconds')})", "{{pod}}"),
            unit="s",
            size=(8, 7),
        ),
    ]
