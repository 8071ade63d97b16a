"""What workers do with their machines: slots, stages, processors, GPUs, models and disks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.models import dashboard as model

from monitoring import looks
from monitoring.expressions import PACE, WORKERS, among, has, mean, quantile, rate, ratio, select
from monitoring.layout import Row, board, choice
from monitoring.panels import Line, Panel, chart, tile

UID: Final = "data-miner-workers"
SLOTS: Final = "dataminer_worker_slots"
BUSY: Final = "dataminer_worker_busy_slots"
SECONDS: Final = "dataminer_stage_seconds"
OUTCOMES: Final = "dataminer_stage_outcomes_total"
COUNTS: Final = "dataminer_stage_counts_total"
_NOT_DONE: Final = among("outcome", "failed|later|lost")
STAGE: Final = "{{stage}}"
# Workers of one machine see the same disk and the same GPU; on a cluster a pod is a machine.
_MACHINE: Final = "namespace, pod"


def gpu_and_workers(runbooks: str) -> model.Dashboard:
    """Of all workers, also of those of `data-miner run` on one machine."""
    return board(
        UID,
        "data-miner / GPU and workers",
        "What workers do with their machines: slots, stages, processors, GPUs, models and disks.",
        [
            choice("namespace", "Namespace of the workers", SLOTS),
            choice("pool", "Pool", SLOTS, 'namespace=~"$namespace"'),
        ],
        [
            Row("", _tiles()),
            Row("Slots and stages", _stages()),
            Row("Speed", _speed()),
            Row("Processor and GPU", _processors()),
            Row("Models", _models()),
            Row("Trouble", _trouble()),
        ],
        runbooks=runbooks,
    )


def _own(metric: str, where: str = "") -> str:
    return select(metric, WORKERS, where)


def _free() -> str:
    free = f"min by ({_MACHINE}, place) ({_own('dataminer_disk_bytes', has('kind', 'free'))})"
    size = f"max by ({_MACHINE}, place) ({_own('dataminer_disk_bytes', has('kind', 'size'))})"
    return ratio(free, size)


def _tiles() -> Sequence[Panel]:
    busy = f"sum({_own(BUSY)})"
    slots = f"sum({_own(SLOTS)})"
    failed = rate(OUTCOMES, where=has("outcome", "failed"))
    return [
        tile(
            "Workers",
            "Worker processes that answer.",
            f"count({_own(SLOTS)})",
            unit="short",
            no_value="none",
            runbook="DataMinerHeartbeatsMissing",
        ),
        tile(
            "Busy",
            "The share of all slots that run a task.",
            ratio(f"({busy} or 0 * {slots})", slots),
            unit="percentunit",
            decimals=0,
            steps=looks.BLUE,
            no_value="no worker",
        ),
        tile(
            "Tasks done",
            "Tasks that end with a result, a minute.",
            f"{rate(OUTCOMES, where=has('outcome', 'done'))} * 60",
            unit="suffix:/min",
            decimals=1,
            steps=looks.GOOD,
            no_value="none yet",
        ),
        tile(
            "Failed for good",
            "The share of all tasks ended that have used up their attempts.",
            ratio(f"({failed} or 0 * {rate(OUTCOMES)})", rate(OUTCOMES)),
            unit="percentunit",
            decimals=1,
            steps=((None, "green"), (0.01, "yellow"), (0.05, "red")),
            no_value="no task ended",
            runbook="DataMinerFailureRateBurn",
        ),
        tile(
            "Real-time factor",
            "Seconds of video that all workers look at in one second.",
            rate(COUNTS, where=has("name", "media_seconds")),
            unit="suffix:x",
            decimals=1,
            no_value="none yet",
        ),
        tile(
            "Least disk free",
            "Of the disks that workers write to, the one with the least room.",
            f"min({_free()})",
            unit="percentunit",
            decimals=0,
            steps=((None, "red"), (0.1, "yellow"), (0.2, "green")),
            runbook="DataMinerDiskLow",
        ),
    ]


def _stages() -> Sequence[Panel]:
    return [
        chart(
            "Busy slots",
            "Tasks that run at once, by stage, below the number that all workers could run.",
            Line(f"sum by (stage) ({_own(BUSY)})", STAGE),
            Line(f"sum({_own(SLOTS)})", "slots"),
            unit="short",
            stacked=True,
            dashed=["slots"],
            no_value="no worker is there",
        ),
        chart(
            "Tasks ended",
            "By outcome, a minute; what ends later was put off and is tried again.",
            Line(f"{rate(OUTCOMES, 'outcome')} * 60", "{{outcome}}"),
            unit="suffix:/min",
            stacked=True,
            colors=looks.OUTCOMES,
            runbook="DataMinerFailureRateBurn",
        ),
        chart(
            "Time of a task",
            "What 95 of 100 tasks of a stage take at most; points are single tasks.",
            Line(quantile(0.95, SECONDS, "stage"), STAGE, exemplars=True),
            unit="s",
            size=(8, 8),
        ),
        chart(
            "Mean time of a task",
            "By stage, over the tasks that ended.",
            Line(mean(SECONDS, "stage"), STAGE),
            unit="s",
            size=(8, 8),
        ),
        chart(
            "Failures, by class",
            "Tasks a minute that failed or were put off, by cause.",
            Line(
                f"{rate(OUTCOMES, 'error_class', where=_NOT_DONE)} * 60",
                "{{error_class}}",
            ),
            unit="suffix:/min",
            size=(8, 8),
            stacked=True,
            no_value="no failure",
            runbook="DataMinerDownloadsBlocked",
        ),
    ]


def _speed() -> Sequence[Panel]:
    media = rate(COUNTS, "stage", where=has("name", "media_seconds"), window=PACE)
    ran = rate(f"{SECONDS}_sum", "stage", window=PACE)
    down = rate(COUNTS, where=has("name", "bytes_downloaded"))
    up = rate(COUNTS, where=has("name", "bytes_published"))
    return [
        chart(
            "Real-time factor",
            "Seconds of video looked at in one second: of all workers, and of one busy slot.",
            Line(rate(COUNTS, where=has("name", "media_seconds")), "all workers"),
            Line(f"sum({ratio(media, ran)})", "one slot"),
            unit="suffix:x",
            size=(8, 8),
            decimals=1,
        ),
        chart(
            "Bytes",
            "What is fetched from sites, and what is written to the store.",
            Line(down, "downloaded"),
            Line(up, "stored"),
            unit="Bps",
            size=(8, 8),
        ),
        chart(
            "Frames",
            "Frames a second that are decoded, embedded and cut.",
            Line(rate(COUNTS, where=has("name", "frames_decoded")), "decoded"),
            Line(rate(COUNTS, where=has("name", "frames_embedded")), "embedded"),
            Line(rate(COUNTS, where=has("name", "frames_cut")), "cut"),
            unit="suffix:/s",
            size=(8, 8),
        ),
    ]


def _processors() -> Sequence[Panel]:
    def memory(kind: str) -> str:
        return f"max by ({_MACHINE}, gpu) ({_own('dataminer_gpu_memory_bytes', has('kind', kind))})"

    gpu = "{{pod}} GPU {{gpu}}"
    return [
        chart(
            "Processors in use",
            "Processor seconds of tasks in one second: so many cores are at work, by stage.",
            Line(rate("dataminer_stage_cpu_seconds_total", "stage"), STAGE),
            unit="suffix:cores",
            stacked=True,
        ),
        chart(
            "GPU time",
            "Seconds in one second that models run on a GPU: so many GPUs are at work, by stage.",
            Line(rate("dataminer_stage_gpu_seconds_total", "stage"), STAGE),
            unit="suffix:GPUs",
            stacked=True,
            no_value="no GPU is used",
            runbook="DataMinerGpuIdle",
        ),
        chart(
            "GPU utilisation",
            "The share of the last moments in which each GPU was at work.",
            Line(f"max by ({_MACHINE}, gpu) ({_own('dataminer_gpu_utilization_ratio')})", gpu),
            unit="percentunit",
            most=1,
            decimals=0,
            no_value="no GPU is seen",
            runbook="DataMinerGpuIdle",
        ),
        chart(
            "GPU memory",
            "The share of each GPU's memory that is in use.",
            Line(ratio(memory("used"), memory("total")), gpu),
            unit="percentunit",
            most=1,
            decimals=0,
            no_value="no GPU is seen",
        ),
    ]


def _models() -> Sequence[Panel]:
    load = "dataminer_model_load_seconds"
    return [
        chart(
            "Models loaded",
            "Loads a minute, by the device that they are loaded for.",
            Line(f"{rate(f'{load}_count', 'device')} * 60", "{{device}}"),
            unit="suffix:/min",
            size=(8, 7),
            no_value="no model yet",
        ),
        chart(
            "Time to load a model",
            "The mean, by device, over those that were loaded.",
            Line(mean(load, "device"), "{{device}}"),
            unit="s",
            size=(8, 7),
            no_value="no model yet",
        ),
        chart(
            "Inputs in one run",
            "The mean number of inputs that a model is given at once, by stage.",
            Line(mean("dataminer_model_batch_size", "stage"), STAGE),
            unit="short",
            size=(8, 7),
            no_value="no model yet",
        ),
    ]


def _trouble() -> Sequence[Panel]:
    return [
        chart(
            "Task processes that died",
            "A minute, by reason; their tasks are tried again.",
            Line(f"{rate('dataminer_worker_child_deaths_total', 'reason')} * 60", "{{reason}}"),
            unit="suffix:/min",
            size=(6, 7),
            stacked=True,
            no_value="none",
            runbook="DataMinerWorkersCrashing",
        ),
        chart(
            "Database out of reach",
            "Times a minute that workers could not reach it.",
            Line(f"{rate('dataminer_worker_database_lost_total')} * 60", "out of reach"),
            unit="suffix:/min",
            size=(6, 7),
            colors={"out of reach": "red"},
            no_value="none",
            runbook="DataMinerDatabaseUnreachable",
        ),
        chart(
            "Time of a claim",
            "What 95 of 100 claims in the database take at most.",
            Line(quantile(0.95, "dataminer_queue_claim_seconds"), "95 %"),
            unit="s",
            size=(6, 7),
        ),
        chart(
            "Disk free",
            "The least share of room, by what the disk is for.",
            Line(f"min by (place) ({_free()})", "{{place}}"),
            unit="percentunit",
            size=(6, 7),
            most=1,
            decimals=0,
            steps=((None, "transparent"), (0.1, "red")),
            runbook="DataMinerDiskLow",
        ),
    ]
