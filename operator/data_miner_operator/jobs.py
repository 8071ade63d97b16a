"""Jobs that make models which no store has, from a suspended CronJob that the chart brings.

The pod template stays with whoever installs; here only the model's name goes into it. The Job's
name follows from what it makes and from the template, so the API server itself sees to it that
nobody makes a model twice. A Job that has failed is reported and left alone until it is gone
(its TTL) or the template is another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from data_miner.outside import shown
from data_miner_operator import labels
from data_miner_operator.api import CRON_JOBS, JOBS
from data_miner_operator.facts import FIELD_MANAGER, JobFact

VARIABLE: Final = "DATA_MINER_MODEL"
"""Environment of every container: the name of the model to make."""
TEMPLATE: Final = "model"
"""Value of the label that marks the CronJob."""
MAX_MESSAGE: Final = 300


def model_label(model: str) -> str:
    """Value of the label for a model: a digest, for its name may be no label value."""
    return hashlib.sha256(model.encode()).hexdigest()[:32]


def job_name(model: str, template: Mapping[str, Any]) -> str:
    """Of the Job that makes the model from this template."""
    content = json.dumps(_job_template(template), sort_keys=True)
    digest = hashlib.sha256(f"{model}\0{content}".encode()).hexdigest()
    return f"data-miner-model-{digest[:20]}"


def render_job(model: str, template: Mapping[str, Any]) -> dict[str, Any]:
    """The Job that makes a model; `template` is the CronJob."""
    wanted = _job_template(template)
    metadata = wanted.get("metadata") or {}
    spec = json.loads(json.dumps(wanted.get("spec") or {}))
    pod = spec.setdefault("template", {})
    pod_metadata = pod.setdefault("metadata", {})
    pod_metadata["labels"] = {**(pod_metadata.get("labels") or {}), **_labels(model)}
    pod_spec = pod.setdefault("spec", {})
    for container in [*(pod_spec.get("containers") or ()), *(pod_spec.get("initContainers") or ())]:
        others = [v for v in container.get("env") or () if v.get("name") != VARIABLE]
        container["env"] = [*others, {"name": VARIABLE, "value": model}]
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": job_name(model, template),
            "namespace": template["metadata"]["namespace"],
            "labels": {
                **(metadata.get("labels") or {}),
                **_labels(model),
                labels.MANAGED_BY: FIELD_MANAGER,
            },
            "annotations": {
                **(metadata.get("annotations") or {}),
                labels.INSTANTIATE: "manual",
                labels.MODEL_NAME: model,
            },
            # As `kubectl create job --from` does: removed with it, not controlled by it.
            "ownerReferences": [
                {
                    "apiVersion": CRON_JOBS.api_version,
                    "kind": CRON_JOBS.kind,
                    "name": template["metadata"]["name"],
                    "uid": template["metadata"]["uid"],
                }
            ],
        },
        "spec": spec,
    }


def job_fact(model: str, jobs: Sequence[Mapping[str, Any]]) -> JobFact | None:
    """How the newest of the Jobs that make a model fares; None when there is none."""
    mine = [
        job
        for job in jobs
        if (job["metadata"].get("labels") or {}).get(labels.MODEL) == model_label(model)
        and "deletionTimestamp" not in job["metadata"]
    ]
    if not mine:
        return None
    newest = max(mine, key=lambda job: str(job["metadata"].get("creationTimestamp")))
    conditions = {
        str(c.get("type")): c
        for c in (newest.get("status") or {}).get("conditions") or ()
        if c.get("status") == "True"
    }
    failed = conditions.get("Failed")
    message = "" if failed is None else shown(str(failed.get("message") or failed.get("reason")))
    return JobFact(
        name=str(newest["metadata"]["name"]),
        active=not conditions.keys() & {"Failed", "Complete"},
        failed=failed is not None,
        message=message[:MAX_MESSAGE],
    )


def _labels(model: str) -> dict[str, str]:
    return {labels.MODEL: model_label(model)}


def _job_template(template: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (template.get("spec") or {}).get("jobTemplate") or {}
    return found
