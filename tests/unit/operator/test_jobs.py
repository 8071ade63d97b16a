"""Jobs that make models, out of a template."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from data_miner_operator.jobs import (
    MAX_MESSAGE_BYTES,
    counting_job,
    fact_of,
    is_for,
    job_name,
    model_label,
    render_job,
)

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


NAME = job_name(MODEL, TEMPLATE)


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
    assert counting_job(MODEL, [job], TEMPLATE) == job
    assert fact_of(job).active


def test_the_newest_job_of_a_model_is_the_one_that_counts() -> None:
    jobs = [
        _job("old", "2026-01-01T00:00:00Z", ("Failed", "no disk")),
        _job("new", "2026-01-02T00:00:00Z"),
        _job("other", "2026-01-03T00:00:00Z", ("Failed", "x"), model="other"),
    ]

    found = counting_job(MODEL, jobs, None)

    assert found == jobs[1]
    assert (fact_of(jobs[1]).active, fact_of(jobs[1]).failed) == (True, False)


def test_a_job_that_has_ended_counts_as_long_as_its_template_is_the_same() -> None:
    """Who mends the template need not wait; a Job at work is waited for, whatever made it."""
    failed = _job(NAME, "2026-01-01T00:00:00Z", ("Failed", "no token"))
    done = _job(NAME, "2026-01-01T00:00:00Z", ("Complete", ""))
    at_work = _job("of-another-template", "2026-01-01T00:00:00Z")
    mended = copy.deepcopy(TEMPLATE)
    mended["spec"]["jobTemplate"]["spec"]["backoffLimit"] = 9

    for ended in (failed, done):
        assert counting_job(MODEL, [ended], TEMPLATE) == ended
        assert counting_job(MODEL, [ended], mended) is None
        assert counting_job(MODEL, [ended, at_work], TEMPLATE) == at_work
        assert counting_job(MODEL, [ended, at_work], mended) == at_work


def test_a_failed_job_says_why_in_one_harmless_line() -> None:
    failed = _job(
        "j", "2026-01-01T00:00:00Z", ("Failed", "pull failed\ntoken=secret123" + "x" * 900)
    )

    fact = fact_of(failed)

    assert fact.failed
    assert not fact.active
    assert "secret123" not in fact.message
    assert "\n" not in fact.message
    assert len(fact.message.encode()) <= MAX_MESSAGE_BYTES


def test_a_job_that_is_being_deleted_is_gone() -> None:
    leaving = _job("j", "2026-01-01T00:00:00Z", ("Failed", "x"))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"

    assert counting_job(MODEL, [leaving], None) is None


def _pod(finished: str, phase: str = "Failed", **terminated: Any) -> Any:
    """A pod whose container has ended so."""
    end = {"exitCode": 6, "reason": "Error", "finishedAt": finished, **terminated}
    return {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "export", "resources": {"limits": {"memory": "12Gi"}}}]},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": "export", "state": {"terminated": end}}],
        },
    }


FAILED = _job("j", "2026-01-01T00:00:00Z", ("Failed", "exit code 6 matches rule 1"))
LOG = "image: exporting\nerror: it is gated: set HF_TOKEN\nsys:1: ResourceWarning: x\n"


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ([_pod("2", message=LOG)], "it is gated: set HF_TOKEN"),
        ([_pod("2", message="Traceback\nKeyError: 'x'\n")], "KeyError: 'x'"),
        (
            [
                _pod("1", message="error: a"),
                _pod("3", message="error: c"),
                _pod("2", message="error: b"),
                _pod("4", phase="Running", message="error: d"),
            ],
            "c",
        ),
        (
            [_pod("2", message="image: exporting", exitCode=137, reason="OOMKilled")],
            "out of memory: its container may use 12Gi",
        ),
        ([_pod("2", exitCode=139)], "it ended with 139"),
        ([_pod("2", message=f"error: HF_TOKEN=hf_{'a' * 20} is wrong")], "HF_TOKEN=*** is wrong"),
        (
            [{**_pod("2"), "status": {"phase": "Failed", "message": "Usage of EmptyDir exceeds"}}],
            "Usage of EmptyDir exceeds",
        ),
        # Nobody is left to say more.
        ([], "exit code 6 matches rule 1"),
    ],
)  # fmt: skip
def test_a_failed_job_says_what_its_last_pod_has_said(pods: list[Any], says: str) -> None:
    """Not what the rule of a template is called, nor what an earlier try said."""
    assert fact_of(FAILED, pods).message == says


def test_a_job_that_took_too_long_says_that() -> None:
    """Whatever became of a try before."""
    late = copy.deepcopy(FAILED)
    late["status"]["conditions"][0] |= {"reason": "DeadlineExceeded", "message": "too long"}
    assert fact_of(late, [_pod("2", message="error: x")]).message == "too long"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes have room"}
                ]
            },
            "0/3 nodes have room",
        ),
        (
            {
                "containerStatuses": [
                    {
                        "name": "export",
                        "state": {
                            "waiting": {
                                "reason": "CreateContainerConfigError",
                                "message": 'secret "hub" not found',
                            }
                        },
                    }
                ]
            },
            'CreateContainerConfigError: secret "hub" not found',
        ),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        ({"containerStatuses": [{"state": {"running": {}}}]}, ""),
        ({}, ""),
    ],
)
def test_a_job_whose_pod_does_not_start_says_why(status: dict[str, Any], says: str) -> None:
    at_work = _job("j", "2026-01-01T00:00:00Z")
    pod = {"metadata": {}, "status": {"phase": "Pending", **status}}
    fact = fact_of(at_work, [pod], datetime(2026, 1, 2, tzinfo=UTC))
    assert (fact.active, fact.message) == (True, says)


@pytest.mark.parametrize(("seconds", "says"), [(599, ""), (601, "describe pod p -n own` says why")])
def test_a_pod_that_waits_long_for_a_volume_is_said(seconds: float, says: str) -> None:
    """The kubelet says in an event alone what it waits for."""
    status = {
        "phase": "Pending",
        "startTime": "2026-01-01T00:00:00Z",
        "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}],
    }
    pod = {"metadata": {"name": "p", "namespace": "own"}, "status": status}
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert fact_of(_job("j", "2026-01-01T00:00:00Z"), [pod], now).message.endswith(says)


@pytest.mark.parametrize(("seconds", "says"), [(59, ""), (61, "describe job j -n own` says why")])
def test_a_job_that_gets_no_pod_is_said(seconds: float, says: str) -> None:
    """A quota or a policy has refused it, which stands in an event alone."""
    job = _job("j", "2026-01-01T00:00:00Z")
    job["metadata"]["namespace"] = "own"
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert fact_of(job, [], now).message.endswith(says)
    assert fact_of({**job, "spec": {"suspend": True}}, [], now).message == "its Job is suspended"


def test_a_job_is_for_the_operator_of_its_template() -> None:
    theirs = copy.deepcopy(TEMPLATE)
    theirs["metadata"]["annotations"] = {"data-miner.io/operator": "own/theirs", "note": "x"}
    for found in (theirs, render_job(MODEL, theirs)):
        assert (is_for(found, "own/theirs"), is_for(found, "own/ours")) == (True, False)
    assert is_for(render_job(MODEL, TEMPLATE), "own/ours")
    assert "note" not in render_job(MODEL, theirs)["metadata"]["annotations"]
