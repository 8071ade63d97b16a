"""Jobs that make models, out of a template."""

from __future__ import annotations

import copy
from typing import Any

from data_miner_operator.jobs import job_fact, job_name, model_label, render_job

TEMPLATE: dict[str, Any] = {
    "metadata": {"name": "models", "namespace": "own", "uid": "c1"},
    "spec": {
        "suspend": True,
        "schedule": "0 0 31 2 *",
        "jobTemplate": {
            "metadata": {"labels": {"team": "x"}},
            "spec": {
                "backoffLimit": 1,
                "template": {
                    "metadata": {"labels": {"app": "export"}},
                    "spec": {
                        "containers": [
                            {"name": "export", "env": [{"name": "DATA_MINER_MODEL", "value": ""}]}
                        ],
                        "initContainers": [{"name": "first"}],
                    },
                },
            },
        },
    },
}
MODEL = "google/siglip2-base-patch16-224"


def _job(name: str, created: str, *conditions: tuple[str, str], model: str = MODEL) -> Any:
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": {"data-miner.io/model": model_label(model)},
        },
        "status": {
            "conditions": [
                {"type": kind, "status": "True", "message": message} for kind, message in conditions
            ]
        },
    }


def test_a_jobs_name_follows_from_what_it_makes_and_from_the_template() -> None:
    other = copy.deepcopy(TEMPLATE)
    other["spec"]["jobTemplate"]["spec"]["backoffLimit"] = 2
    touched = copy.deepcopy(TEMPLATE)
    touched["metadata"]["resourceVersion"] = "9"
    touched["spec"]["schedule"] = "@daily"

    name = job_name(MODEL, TEMPLATE)

    assert name == job_name(MODEL, touched)
    assert name not in (job_name("other", TEMPLATE), job_name(MODEL, other))
    assert len(name) <= 63


def test_every_container_is_told_the_model_once() -> None:
    job = render_job(MODEL, TEMPLATE)

    pod = job["spec"]["template"]["spec"]
    told = [{"name": "DATA_MINER_MODEL", "value": MODEL}]
    assert [c["env"] for c in (*pod["containers"], *pod["initContainers"])] == [told, told]


def test_a_job_is_made_as_kubectl_makes_one_and_can_be_found_again() -> None:
    before = copy.deepcopy(TEMPLATE)
    job = render_job(MODEL, TEMPLATE)

    assert before == TEMPLATE
    assert job["metadata"]["namespace"] == "own"
    assert job["metadata"]["labels"]["team"] == "x"
    assert job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("CronJob", "c1")
    assert "controller" not in owner
    fact = job_fact(MODEL, [job])
    assert fact is not None
    assert fact.active


def test_the_newest_job_of_a_model_is_the_one_that_counts() -> None:
    jobs = [
        _job("old", "2026-01-01T00:00:00Z", ("Failed", "no disk")),
        _job("new", "2026-01-02T00:00:00Z"),
        _job("other", "2026-01-03T00:00:00Z", ("Failed", "x"), model="other"),
    ]

    fact = job_fact(MODEL, jobs)

    assert fact is not None
    assert (fact.name, fact.active, fact.failed) == ("new", True, False)


def test_a_failed_job_says_why_in_one_harmless_line() -> None:
    failed = _job("j", "2026-01-01T00:00:00Z", ("Failed", "pull failed\ntoken=secret123"))

    fact = job_fact(MODEL, [failed])

    assert fact is not None
    assert fact.failed
    assert not fact.active
    assert "secret123" not in fact.message
    assert "\n" not in fact.message


def test_a_job_that_is_being_deleted_is_gone() -> None:
    leaving = _job("j", "2026-01-01T00:00:00Z", ("Failed", "x"))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"

    assert job_fact(MODEL, [leaving]) is None
