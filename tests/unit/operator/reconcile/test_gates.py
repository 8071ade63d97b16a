"""What must hold before a project is applied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from data_miner_operator.facts import JobFact, ModelFact, Seen
from data_miner_operator.reconcile.conditions import Check
from data_miner_operator.reconcile.gates import gates
from support.reconciling import MODELS, SITE, a_row, absent, an_object, found, seen, spec

COOKIES = spec(download={"secretRef": {"name": "cookies"}})


def with_models(**facts: ModelFact) -> Seen:
    """`tiny_clip=…` and the like, in place of what is found."""
    changed = {name.replace("_", "-"): fact for name, fact in facts.items()}
    return seen(models={**{name: found(name) for name in MODELS}, **changed})


def test_a_project_with_all_it_needs_goes_through() -> None:
    """Every gate is open, and what is wanted is known."""
    judged = gates(seen())
    assert judged.shut is None
    assert judged.refused is None
    assert judged.wanted is not None


def test_an_invalid_spec_is_refused_with_its_path() -> None:
    """And with how much else is wrong; credentials and models cannot be told."""
    judged = gates(seen(object=an_object(spec=spec(priority=5000, weight=0))))
    assert judged.shut == judged.refused == judged.spec
    assert (judged.spec.status, judged.spec.reason) == ("False", "SpecInvalid")
    assert judged.spec.message.startswith("spec.priority: got 5000")
    assert judged.spec.message.endswith("(and 1 more)")
    assert judged.credentials.status == judged.models.status == "Unknown"
    assert judged.wanted is None


def test_a_place_outside_of_the_allowed_ones_is_refused() -> None:
    """Relative paths count from the site's folder before that is judged."""
    site = replace(SITE, allowed_prefixes="file:///data s3://ours")
    inside = spec(sources=[{"files": {"uri": "clips"}}], export={"uri": "s3://ours/out"})
    assert gates(seen(site=site, object=an_object(spec=inside))).shut is None
    outside = spec(sources=[{"files": {"uri": "../etc"}}])
    judged = gates(seen(site=site, object=an_object(spec=outside)))
    assert (judged.spec.status, judged.spec.reason) == ("False", "NotAllowed")
    assert "spec.sources[0].files.uri" in judged.spec.message


@pytest.mark.parametrize(
    ("credentials", "status", "reason"),
    [
        (None, "True", "NotChecked"),
        ({}, "False", "CredentialsMissing"),
        ({"tokens": frozenset[str]()}, "False", "CredentialsMissing"),
        ({"cookies": frozenset[str]()}, "True", "Mounted"),
        ({"cookies": frozenset({"team"})}, "True", "Mounted"),
        ({"cookies": frozenset({"others"})}, "False", "CredentialsNotAllowed"),
    ],
)
def test_a_credential_must_be_there_and_be_for_the_namespace(
    credentials: Any, status: str, reason: str
) -> None:
    """Unless the installation lists none; empty namespaces mean all."""
    site = replace(SITE, credentials=credentials)
    judged = gates(seen(site=site, object=an_object(spec=COOKIES)))
    assert (judged.credentials.status, judged.credentials.reason) == (status, reason)
    assert (judged.shut is None) == (status == "True")


def test_a_spec_that_names_no_credential_needs_none() -> None:
    """Whatever the installation has."""
    judged = gates(seen(site=replace(SITE, credentials={})))
    assert judged.credentials.reason == "NoneNamed"


def test_a_spec_that_names_no_model_needs_none() -> None:
    """Downloads alone."""
    bare = spec(filter=None, dedup=None, detect=None, export=None)
    assert gates(seen(object=an_object(spec=bare), models={})).models.reason == "NoneNamed"


def test_a_missing_model_that_can_be_made_is_to_be_made() -> None:
    """Each of them, unless a Job is at it."""
    job = JobFact("make-tiny-dino", True, False, "")
    judged = gates(
        with_models(
            tiny_clip=absent("tiny-clip", can_be_made=True),
            tiny_dino=absent("tiny-dino", job=job, can_be_made=True),
        )
    )
    assert (judged.models.status, judged.models.reason) == ("False", "MakingModels")
    assert judged.models.message == "being made: tiny-clip, tiny-dino"
    assert judged.missing == ("tiny-clip",)
    assert judged.shut is judged.models
    assert judged.refused is None


@pytest.mark.parametrize(("job", "reason"), [
    (None, "ModelsMissing"), (JobFact("for-others", True, False, ""), "MakingModels"),
])  # fmt: skip
def test_no_model_is_made_for_a_suspended_project(job: JobFact | None, reason: str) -> None:
    """Nobody shall wait for what is not under way; what others have begun goes on."""
    lacking = with_models(tiny_clip=absent("tiny-clip", job=job, can_be_made=True))
    judged = gates(replace(lacking, object=an_object(spec=spec(suspend=True))))
    assert (judged.models.status, judged.models.reason) == ("False", reason)
    assert judged.missing == ()
    if job is None:
        assert judged.models.message == "no store has tiny-clip: made when the project goes on"


def test_why_a_jobs_pod_does_not_start_is_said_beside_what_is_being_made() -> None:
    job = JobFact("make-tiny-dino", True, False, 'secret "hub" not found')
    judged = gates(with_models(tiny_dino=absent("tiny-dino", job=job, can_be_made=True)))
    assert judged.models.reason == "MakingModels"
    assert judged.models.message == 'being made: tiny-dino; secret "hub" not found'


@pytest.mark.parametrize(
    ("fact", "reason", "says"),
    [
        (absent("tiny-clip", problem="model tiny-clip: unknown"), "ModelsMissing", "unknown"),
        (absent("tiny-clip"), "ModelsMissing", "no store has model tiny-clip"),
        (absent("tiny-clip", job=JobFact("j", False, False, "")), "ModelsMissing", "Job j has end"),
        (absent("tiny-clip", job=JobFact("j", False, True, "disk")), "ModelJobFailed", "disk"),
        (absent("tiny-clip", job=JobFact("j", False, True, "")), "ModelJobFailed", "not say why"),
    ],
)
def test_a_missing_model_that_nobody_makes_is_said(fact: ModelFact, reason: str, says: str) -> None:
    """Somebody must mend it, and nothing is made for a project that cannot go on anyway."""
    judged = gates(with_models(tiny_clip=fact, tiny_dino=absent("tiny-dino", can_be_made=True)))
    assert (judged.models.status, judged.models.reason) == ("False", reason)
    assert says in judged.models.message
    assert judged.missing == ()
    assert judged.refused is judged.models


@pytest.mark.parametrize("job", [None, JobFact("j", False, False, "")])
def test_a_store_that_cannot_be_asked_is_no_missing_model(job: JobFact | None) -> None:
    """Nobody has to mend anything here, and no Job is made for what may be there."""
    fact = absent("tiny-clip", job=job, can_be_made=True, problem="cannot read it", away=True)
    judged = gates(with_models(tiny_clip=fact))
    assert judged.models == Check("Unknown", "ModelStoreUnreachable", "cannot read it")
    assert judged.shut is judged.models
    assert judged.refused is None
    assert judged.missing == ()


def test_a_model_that_is_being_made_is_so_while_the_store_is_away() -> None:
    """The Job says more than the store that is silent."""
    fact = absent("tiny-clip", job=JobFact("j", True, False, ""), away=True)
    assert gates(with_models(tiny_clip=fact)).models.reason == "MakingModels"


def test_a_model_that_nobody_has_looked_for_is_not_there() -> None:
    """An edit came between the look and the decision."""
    assert gates(seen(models={})).models.reason == "ModelsMissing"


def test_a_project_of_another_cluster_is_refused() -> None:
    """The message says whose it is, and what to do."""
    judged = gates(seen(row=a_row(owner_installation="installation-2")))
    assert judged.shut is judged.owner
    assert judged.owner.reason == "NotOwner"
    assert "from another cluster" in judged.owner.message
    by_hand = gates(seen(row=a_row(owner_installation=None, owner_uid=None)))
    assert "from the command line" in by_hand.owner.message


def test_a_project_of_another_cluster_is_taken_over_when_the_object_says_so() -> None:
    """The annotation is the user's word that he means this very one."""
    adopting = an_object(annotations={"adopt": "true"})
    assert gates(seen(object=adopting, row=a_row(owner_installation="x"))).shut is None


def test_the_first_gate_that_is_shut_decides() -> None:
    """Spec, then credentials, then models, then the owner; every one says its own all the same."""
    site = replace(SITE, credentials={})
    judged = gates(
        seen(
            site=site,
            object=an_object(spec=COOKIES),
            models={},
            row=a_row(owner_installation="installation-2"),
        )
    )
    assert judged.shut is judged.credentials
    assert judged.models.reason == "ModelsMissing"
    assert judged.owner.reason == "NotOwner"
