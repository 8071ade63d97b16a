"""What a cluster shows of a project: the status of its object, written by the operator alone.

Sums only, so that it stays small whatever the size of the project; all of it can be worked out
again from the database and the cluster.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

_MAX: Final = 2**53 - 1
"""The greatest whole number that every reader of JSON reads as it is."""

Count = Annotated[int, Field(ge=0, le=_MAX)]


class StatusModel(BaseModel):
    """A part of the status: camelCase in YAML; what is absent is not known, or nothing."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
    )


class Condition(StatusModel):
    """A metav1.Condition."""

    type: str = Field(
        min_length=1,
        max_length=316,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
        r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        description="What is said, such as Ready or Complete.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    observed_generation: Count | None = Field(
        default=None, description="The generation of the object that it was said of."
    )
    last_transition_time: datetime = Field(
        description="When the status last changed from one value to another."
    )
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Why, in one CamelCase word that does not change between releases.",
    )
    message: str = Field(max_length=32_768, description="Why, in a sentence for people.")


class Images(StatusModel):
    """Images of the project."""

    kept: Count | None = Field(default=None, description="Kept so far.")
    target: Count | None = Field(default=None, description="Wanted; absent without a target.")
    exported: Count | None = Field(default=None, description="In the newest dataset version.")


class Videos(StatusModel):
    """Videos of the project."""

    found: Count | None = Field(default=None, description="Found by the sources.")
    selected: Count | None = Field(default=None, description="Found and not left out by select.")
    ended: Count | None = Field(
        default=None, description="Gone through all of their own stages, skipped or failed."
    )


class StageCounts(StatusModel):
    """Work of one stage. Zeros are left out."""

    name: str = Field(min_length=1, max_length=32, description="The stage.")
    done: Count | None = Field(default=None, description="Tasks with a result.")
    running: Count | None = Field(default=None, description="Tasks that a worker has.")
    ready: Count | None = Field(default=None, description="Tasks that wait for a worker.")
    waiting: Count | None = Field(default=None, description="Tasks that are put off until later.")
    failed: Count | None = Field(
        default=None, description="Tasks that have used up their attempts and need a person."
    )
    skipped: Count | None = Field(
        default=None, description="Tasks that ended without a result, for a reason."
    )


class Funnel(StatusModel):
    """What is left of the videos after each step, down to images."""

    found: Count | None = Field(default=None, description="Videos that the sources gave.")
    selected: Count | None = Field(default=None, description="Videos that select let pass.")
    downloaded: Count | None = Field(default=None, description="Videos that were fetched.")
    frames: Count | None = Field(default=None, description="Frames that were looked at.")
    passed: Count | None = Field(default=None, description="Frames that the filter kept.")
    unique: Count | None = Field(default=None, description="Frames without near-duplicates.")
    labelled: Count | None = Field(default=None, description="Images with at least one label.")
    exported: Count | None = Field(
        default=None, description="Images in the newest dataset version."
    )


class Dataset(StatusModel):
    """The newest dataset version."""

    version: Count | None = Field(default=None, description="Its number, from 1.")
    images: Count | None = Field(default=None, description="Images in it.")
    digest: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        max_length=64,
        description="SHA-256 of its manifest, which covers all of its content.",
    )
    uri: str | None = Field(
        default=None, max_length=512, description="Its folder; shortened where it is long."
    )


class ProjectStatus(StatusModel):
    """What the operator last saw."""

    observed_generation: Count | None = Field(
        default=None,
        description="The metadata.generation that this was worked out for. As long as it is less "
        "than that of the object, an edit has not been seen yet.",
    )
    phase: str | None = Field(
        default=None,
        max_length=32,
        description="One word for people; programs read the conditions.",
    )
    reason: str | None = Field(
        default=None, max_length=128, description="Why it is in this phase, in one CamelCase word."
    )
    conditions: Annotated[
        tuple[Condition, ...] | None,
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = Field(
        default=None,
        description="Ready, SpecValid, DatabaseReachable, CredentialsReady, ModelsReady, "
        "WorkersAvailable, Throttled, Complete and Suspended; Reconciling and Stalled while they "
        "are true.",
    )
    project_id: Count | None = Field(default=None, description="Its number in the database.")
    images: Images | None = Field(default=None, description="Images, kept and wanted.")
    videos: Videos | None = Field(default=None, description="Videos, found and ended.")
    progress: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None,
        description="Per cent of the way to the target, or to the end of the sources without one.",
    )
    eta: datetime | None = Field(
        default=None, description="About when it will be complete, at the present pace."
    )
    stages: Annotated[
        tuple[StageCounts, ...] | None,
        Field(
            max_length=32,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = Field(default=None, description="Work by stage, in pipeline order.")
    funnel: Funnel | None = Field(default=None, description="What is left after each step.")
    dataset: Dataset | None = Field(default=None, description="The newest dataset version.")
    completed_at: datetime | None = Field(
        default=None, description="When it was complete; absent while there is work."
    )
    retried: str | None = Field(
        default=None,
        max_length=253,
        description="The last value of the annotation data-miner.io/retry-failed that was acted "
        "on.",
    )
