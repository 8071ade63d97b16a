"""The whole of a user's YAML: a MiningProject."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, Strict

from data_miner.spec.base import Broken, Cel, SpecModel
from data_miner.spec.sources import Download, Select, Source
from data_miner.spec.stages import Dedup, Detect, Export, Filter, Retention, Sampling, Target
from data_miner.spec.text import AnnotationValue, DnsLabel, LabelKey, LabelValue

API_VERSION: Final = "data-miner.io/v1alpha1"
KIND: Final = "MiningProject"


class Metadata(SpecModel):
    """What the project is called."""

    name: DnsLabel = Field(
        description="Name, unique within the namespace: at most 63 lower-case letters, digits and "
        "hyphens."
    )
    namespace: DnsLabel = Field(
        default="default", description="Namespace; outside of a cluster only a part of the name."
    )
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=64, description="Labels to find projects by."
    )
    annotations: dict[LabelKey, AnnotationValue] = Field(
        default_factory=dict, max_length=64, description="Notes for people and tools."
    )


class DeletionPolicy(StrEnum):
    """What happens with what a project has made when its object is deleted in a cluster."""

    RETAIN = "Retain"
    DELETE = "Delete"


class MiningProjectSpec(SpecModel):
    """What is wanted. Every section but `sources` may be left out."""

    sources: tuple[Source, ...] = Field(
        min_length=1, max_length=100, strict=False, description="Where video comes from."
    )
    select: Select = Field(
        default=Select(),
        description="Which videos are wanted, decided before any byte of them is fetched.",
    )
    download: Download = Field(default=Download(), description="How video is fetched.")
    sampling: Sampling | None = Field(
        default=None,
        description="Which frames of a video are looked at. Absent means its defaults where a "
        "later section needs frames.",
    )
    filter: Filter | None = Field(
        default=None, description="Which frames are kept. Absent keeps every sampled frame."
    )
    dedup: Dedup | None = Field(
        default=None,
        description="How different the kept frames must be. Absent keeps near-duplicates.",
    )
    detect: Detect | None = Field(
        default=None, description="Which objects are labelled. Absent labels none."
    )
    target: Target | None = Field(
        default=None, description="When there is enough. Absent means when the sources are used up."
    )
    export: Export | None = Field(
        default=None,
        description="What the dataset looks like and where it goes. Absent writes none.",
    )
    retention: Retention = Field(
        default=Retention(), description="How long what can be made again is kept."
    )
    suspend: bool = Field(
        default=False, description="True stops the project; what it has made stays."
    )
    priority: int = Field(
        default=0,
        ge=-1000,
        le=1000,
        description="Projects with a higher number go first with shared work.",
    )
    weight: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Share of the workers, compared with other projects' weights.",
    )
    deletion_policy: Annotated[DeletionPolicy, Strict(False)] = Field(
        default=DeletionPolicy.RETAIN,
        description="What happens in a cluster when the object is deleted. Retain stops the "
        "project and keeps its rows, its work and its published versions; an object of the same "
        "name goes on with them. Delete removes what no other project uses.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=315_360_000,
        description="Seconds after completion at which a cluster deletes the object, as "
        "deletionPolicy says. Absent keeps it.",
    )

    cel: ClassVar = (
        Cel(
            "!has(self.dedup) || !has(self.export) || "
            "self.export.splitLinkThreshold <= self.dedup.threshold",
            "must be at most dedup.threshold",
            field_path=".export.splitLinkThreshold",
        ),
        Cel(
            "!has(oldSelf.export) || !has(oldSelf.export.uri) || (has(self.export) && "
            "has(self.export.uri) && self.export.uri == oldSelf.export.uri)",
            "cannot change once it is set: the published versions stay there; make another project "
            "for another place",
            field_path=".export.uri",
            reason="FieldValueForbidden",
        ),
    )

    def broken_rules(self) -> Iterator[Broken]:
        if self.dedup is None or self.export is None:
            return
        link, near = self.export.split_link_threshold, self.dedup.threshold
        if link > near:
            given = "split_link_threshold" in self.export.model_fields_set
            yield Broken(
                ("export", "splitLinkThreshold"),
                f"{'got' if given else 'the default is'} {link:g}; "
                f"must be at most dedup.threshold, {near:g}",
            )


class MiningProject(SpecModel):
    """A dataset that is wanted: data-miner keeps it converged to this."""

    api_version: Literal["data-miner.io/v1alpha1"] = Field(description="Version of this form.")
    kind: Literal["MiningProject"] = Field(description="Kind of object.")
    metadata: Metadata = Field(description="What the project is called.")
    spec: MiningProjectSpec = Field(description="What is wanted.")


def canonical(part: SpecModel) -> dict[str, Any]:
    """The part as plain JSON under its YAML names, defaults filled in, absent sections left out.

    Two parts that mean the same give the same value, and validating the value gives the part back.
    """
    dumped: dict[str, Any] = part.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped
