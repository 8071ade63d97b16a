"""What must hold before a project is applied, in this order: the first gate that is shut decides.

Spec valid → within reach → credentials → models → ownership. Each gate says its own condition,
also when an earlier one is shut, so that a user can mend everything at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from data_miner.errors import SpecError
from data_miner.local.resolve import check_project_reach
from data_miner.spec import MiningProject
from data_miner_operator.facts import ModelFact, Seen, Site
from data_miner_operator.reconcile import lifecycle
from data_miner_operator.reconcile.asked import Asked, asked
from data_miner_operator.reconcile.conditions import Check
from data_miner_operator.reconcile.wanted import (
    Wanted,
    compiled,
    credentials_of,
    models_of,
    read,
)
from data_miner_operator.reconcile.wording import many, some

MAKING: Final = "MakingModels"
STORE_AWAY: Final = "ModelStoreUnreachable"
PASSING: Final = frozenset({MAKING, STORE_AWAY})
"""The reasons that end by themselves."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What each gate says of an object that is there."""

    asked: Asked
    spec: Check
    credentials: Check
    models: Check
    owner: Check
    """Without meaning while PostgreSQL cannot be asked."""
    missing: tuple[str, ...]
    """Models that a Job can make, and none is making."""
    wanted: Wanted | None
    """None as long as the spec or its models do not allow to say what it comes to."""

    @property
    def shut(self) -> Check | None:
        """The first one that does not let the project through."""
        gates = (self.spec, self.credentials, self.models, self.owner)
        return next((gate for gate in gates if gate.status != "True"), None)

    @property
    def refused(self) -> Check | None:
        """The first that says without PostgreSQL that somebody must mend something."""
        gates = (self.spec, self.credentials, self.models)
        first = next((gate for gate in gates if gate.status != "True"), None)
        return None if first is None or first.reason in PASSING else first


def gates(seen: Seen) -> Gates:
    """Judge an object that is there. Its row counts only if PostgreSQL can be asked."""
    assert seen.object is not None, "no object, no gates"
    wish = asked(seen.object)
    owner = _owner(seen, wish)
    project, spec = _spec(seen)
    if project is None:
        unknown = Check("Unknown", "SpecInvalid", "not known until the spec is valid")
        return Gates(wish, spec, unknown, unknown, owner, (), None)
    credentials = _credentials(project, seen.site)
    models, missing = _models(project, seen.models, suspended=wish.suspend)
    wanted = compiled(project, seen.models) if models.status == "True" else None
    return Gates(wish, spec, credentials, models, owner, missing, wanted)


def _spec(seen: Seen) -> tuple[MiningProject | None, Check]:
    assert seen.object is not None
    try:
        project = read(seen.object, seen.site)
    except SpecError as error:
        return None, Check("False", "SpecInvalid", _first(error))
    try:
        check_project_reach(project, seen.site.allowed_prefixes)
    except SpecError as error:
        return None, Check("False", "NotAllowed", _first(error))
    return project, Check("True", "Valid")


def _first(error: SpecError) -> str:
    """What is wrong first, and how much else is."""
    first, *others = str(error).splitlines() or ["the spec is not valid"]
    return f"{first} (and {many(len(others), 'more', 'more')})" if others else first


def _credentials(project: MiningProject, site: Site) -> Check:
    names = credentials_of(project.spec)
    if not names:
        return Check("True", "NoneNamed")
    if site.credentials is None:
        return Check("True", "NotChecked", "this installation lists no credentials")
    for name in names:
        allowed = site.credentials.get(name)
        if allowed is None:
            known = some(sorted(site.credentials)) or "none"
            return Check(
                "False",
                "CredentialsMissing",
                f"the workers have no credential {name} (they have: {known}): "
                "add it to the installation or name another in spec.download.secretRef",
            )
        if allowed and project.metadata.namespace not in allowed:
            return Check(
                "False",
                "CredentialsNotAllowed",
                f"credential {name} is not for namespace {project.metadata.namespace}: "
                "ask whoever runs the installation",
            )
    return Check("True", "Mounted")


def _models(
    project: MiningProject, facts: Mapping[str, ModelFact], *, suspended: bool
) -> tuple[Check, tuple[str, ...]]:
    """What the condition says, and which models are to be made."""
    names = models_of(project.spec)
    if not names:
        return Check("True", "NoneNamed"), ()
    absent = {
        name: facts.get(name, _UNSEEN) for name in names if facts.get(name, _UNSEEN).info is None
    }
    if not absent:
        return Check("True", "Found"), ()
    for name, fact in absent.items():
        shut = _not_made(name, fact)
        if shut is not None:
            return shut, ()
    making = tuple(name for name, fact in absent.items() if fact.job is None)
    if making and suspended:
        # A suspended project asks for no work, and making a model is work.
        message = f"no store has {some(making)}: made when the project goes on"
        return Check("False", "ModelsMissing", message), ()
    said = [fact.job.message for fact in absent.values() if fact.job is not None]
    hindrance = next((f"; {words}" for words in said if words), "")
    return Check("False", MAKING, f"being made: {some(list(absent))}{hindrance}"), making


def _not_made(name: str, fact: ModelFact) -> Check | None:
    """Why a model that is not there is not being made either; None when it is, or shall be."""
    job = fact.job
    if job is not None and job.failed:
        why = job.message or "it does not say why"
        message = f"Job {job.name} could not make model {name}: {why}"
        return Check("False", "ModelJobFailed", message)
    if fact.away and (job is None or not job.active):
        return Check("Unknown", STORE_AWAY, fact.problem)
    if job is not None and not job.active:
        message = f"Job {job.name} has ended, and no store has model {name}"
        return Check("False", "ModelsMissing", message)
    if job is None and not fact.can_be_made:
        return Check("False", "ModelsMissing", fact.problem or f"no store has model {name}")
    return None


_UNSEEN = ModelFact(name="", info=None, problem="", job=None, can_be_made=False)


def _owner(seen: Seen, wish: Asked) -> Check:
    """Whether the row of this name, if there is one, may be written."""
    if lifecycle.may_write(seen.row, seen.site, wish):
        return Check("True", "Owner")
    assert seen.row is not None
    whose = "the command line" if seen.row.owner_installation is None else "another cluster"
    return Check(
        "False",
        "NotOwner",
        f"the catalogue has a project of this name from {whose}: rename this one, or take that "
        'one over with the annotation data-miner.io/adopt: "true"',
    )
