"""Jobs that make models which no store has, from a suspended CronJob that the chart brings.

The pod template stays with whoever installs; here only the model's name goes into it. The Job's
name follows from what it makes and from the template, so the API server itself sees to it that
nobody makes a model twice. A Job that has failed is reported and left alone; when it is gone (its
TTL), or the template is another, the next one is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from data_miner_operator import labels
from data_miner_operator.api import CRON_JOBS, JOBS
from data_miner_operator.facts import FIELD_MANAGER, JobFact
from data_miner_operator.job_pods import hindrance, last_words
from data_miner_operator.reconcile.times import parse
from data_miner_operator.reconcile.wording import line

VARIABLE: Final = "DATA_MINER_MODEL"
"""Environment of every container: the name of the model to make."""
TEMPLATE: Final = "model"
"""Value of the label that marks the CronJob."""
MAX_MESSAGE_BYTES: Final = 300
POD_SECONDS: Final = 60.0
"""A Job that has no pod after so long gets none."""


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
                **_whose(template),
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


def counting_job(
    model: str, jobs: Iterable[Mapping[str, Any]], template: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The newest of the Jobs that make a model, first of those that are not done; None without.

    One that has ended says nothing any more when the template is another by now.
    """
    name = job_name(model, template) if template is not None else None
    counting = [
        job
        for job in jobs
        if (job["metadata"].get("labels") or {}).get(labels.MODEL) == model_label(model)
        and "deletionTimestamp" not in job["metadata"]
        and (name in {None, job["metadata"]["name"]} or not _ended(job))
    ]
    return max(
        counting,
        key=lambda job: (not _ended(job), str(job["metadata"].get("creationTimestamp"))),
        default=None,
    )


def fact_of(
    job: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]] | None = None,
    now: datetime | None = None,
) -> JobFact:
    """How a Job fares, and what its pods say of that; without them what it says itself."""
    conditions = _conditions(job)
    failed = conditions.get("Failed")
    active = not _ended(job)
    message = ""
    if active and pods is not None and now is not None:
        message = _no_pod(job, now) if not pods else hindrance(pods, now)
    elif failed is not None:
        # Its own words name rules of the template; those of its pods tell what happened.
        own = str(failed.get("message") or failed.get("reason") or "")
        message = (
            own if failed.get("reason") == "DeadlineExceeded" else last_words(pods or ()) or own
        )
    return JobFact(
        name=str(job["metadata"]["name"]),
        active=active,
        failed=failed is not None,
        message=line(message, MAX_MESSAGE_BYTES),
    )


def _no_pod(job: Mapping[str, Any], now: datetime) -> str:
    """Why a Job without pods has none."""
    if (job.get("spec") or {}).get("suspend"):
        return "its Job is suspended"
    created = parse(str(job["metadata"].get("creationTimestamp")))
    if created is None or (now - created).total_seconds() < POD_SECONDS:
        return ""
    # A quota, a policy, or Pod Security has refused it; the reason is in an event alone.
    where = f"-n {job['metadata']['namespace']}"
    return f"it gets no pod: `kubectl describe job {job['metadata']['name']} {where}` says why"


def is_for(found: Mapping[str, Any], operator: str) -> bool:
    """Whether a template, or a Job made of one, is this operator's, by its namespace and Lease."""
    return _whose(found).get(labels.OPERATOR, operator) == operator


def _whose(found: Mapping[str, Any]) -> dict[str, str]:
    annotations = found["metadata"].get("annotations") or {}
    return {name: value for name, value in annotations.items() if name == labels.OPERATOR}


def _ended(job: Mapping[str, Any]) -> bool:
    return bool(_conditions(job).keys() & {"Failed", "Complete"})


def _conditions(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Those that hold, by type."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return {str(c.get("type")): c for c in conditions if c.get("status") == "True"}


def _labels(model: str) -> dict[str, str]:
    return {labels.MODEL: model_label(model)}


def _job_template(template: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (template.get("spec") or {}).get("jobTemplate") or {}
    return found
