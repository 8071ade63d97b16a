"""Where video comes from, and which of it is looked at before any byte of it is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, Strict

from data_miner.spec.base import Broken, Cel, SpecModel
from data_miner.spec.duration import Duration, milliseconds_in_cel
from data_miner.spec.text import Location, Path, SecretName, Text, Url, Word

Limit = Annotated[int, Field(ge=1, le=10_000)]


def exactly_one(model: SpecModel, fields: tuple[str, ...]) -> Iterator[Broken]:
    """The rule that one of these optional fields is given, and only one."""
    given = [name for name in fields if getattr(model, name) is not None]
    if len(given) != 1:
        got = f"got {' and '.join(given)}" if given else "got none of them"
        yield Broken((), f"must have exactly one of {', '.join(fields)}; {got}")


def exactly_one_in_cel(fields: tuple[str, ...]) -> Cel:
    """`exactly_one` for an API server."""
    given = ", ".join(f"has(self.{name})" for name in fields)
    return Cel(f"[{given}].exists_one(x, x)", f"must have exactly one of {', '.join(fields)}")


class Search(SpecModel):
    """What a video site finds for some words."""

    query: Text = Field(description="What to search for, as one would type it.")
    limit: Limit = Field(default=50, description="Most videos to take, best match first.")


class Channel(SpecModel):
    """The videos of one channel."""

    url: Url = Field(description="Address of the channel's page.")
    limit: Limit = Field(default=50, description="Most videos to take, newest first.")


class Playlist(SpecModel):
    """The videos of one playlist."""

    url: Url = Field(description="Address of the playlist's page.")
    limit: Limit = Field(default=50, description="Most videos to take, in the playlist's order.")


class Urls(SpecModel):
    """Videos named one by one: exactly one of `items` and `file`."""

    items: Annotated[tuple[Url, ...], Field(min_length=1, max_length=10_000)] | None = Field(
        default=None,
        description="Addresses of videos, or of pages that hold one.",
        strict=False,
    )
    file: Location | None = Field(
        default=None,
        description="A text file with one address a line; empty lines and lines that start with # "
        "are passed over. A relative path counts from the folder of the project's own file.",
    )

    _ONE_OF: ClassVar = ("items", "file")
    cel: ClassVar = (exactly_one_in_cel(_ONE_OF),)

    def broken_rules(self) -> Iterator[Broken]:
        yield from exactly_one(self, self._ONE_OF)


class Files(SpecModel):
    """Video files that are already somewhere."""

    uri: Location = Field(
        description="A folder or one file: file://, s3://, gs:// or a plain path. A relative path "
        "counts from the folder of the project's own file.",
    )
    glob: Path = Field(
        default="**/*",
        description="Which files of the folder, relative to it: * within a name, "
        "** across folders.",
    )


class Source(SpecModel):
    """One source of video: exactly one of its sections."""

    search: Search | None = Field(
        default=None, description="What a video site finds for some words."
    )
    channel: Channel | None = Field(default=None, description="The videos of one channel.")
    playlist: Playlist | None = Field(default=None, description="The videos of one playlist.")
    urls: Urls | None = Field(default=None, description="Videos named one by one.")
    files: Files | None = Field(default=None, description="Video files that are already somewhere.")

    _ONE_OF: ClassVar = ("search", "channel", "playlist", "urls", "files")
    cel: ClassVar = (exactly_one_in_cel(_ONE_OF),)

    def broken_rules(self) -> Iterator[Broken]:
        yield from exactly_one(self, self._ONE_OF)


class Live(StrEnum):
    """What happens with streams that are not over."""

    SKIP = "Skip"
    ALLOW = "Allow"


class DurationRange(SpecModel):
    """How long a video may be."""

    min: Duration | None = Field(
        default=None, description="Shorter videos are left out. Absent means no lower bound."
    )
    max: Duration | None = Field(
        default=None, description="Longer videos are left out. Absent means no upper bound."
    )

    cel: ClassVar = (
        Cel(
            "!has(self.min) || !has(self.max) || "
            f"{milliseconds_in_cel('self.min')} <= {milliseconds_in_cel('self.max')}",
            "min must be at most max",
        ),
    )

    def broken_rules(self) -> Iterator[Broken]:
        if self.min is not None and self.max is not None and self.min > self.max:
            yield Broken((), "min must be at most max")


class Select(SpecModel):
    """Which videos are wanted, decided on metadata, before any byte of video is fetched."""

    duration: DurationRange = Field(
        default=DurationRange(), description="How long a video may be. Absent means any length."
    )
    licences: tuple[Word, ...] = Field(
        default=(),
        max_length=50,
        strict=False,
        description="Licences that are allowed, such as creativeCommon. Empty allows all; "
        "otherwise a video whose licence is unknown is left out.",
    )
    exclude_tags: tuple[Word, ...] = Field(
        default=(),
        max_length=200,
        strict=False,
        description="A video with one of these words among the words of its tags is left out. "
        "Whole words, without regard to case: car does not match scar.",
    )
    exclude_title: tuple[Word, ...] = Field(
        default=(),
        max_length=200,
        strict=False,
        description="A video with one of these words in its title is left out. Whole words, "
        "without regard to case.",
    )
    live: Annotated[Live, Strict(False)] = Field(
        default=Live.SKIP, description="Whether streams that are still live are taken or left out."
    )


class SecretRef(SpecModel):
    """A credential, by name: its content is never in a project."""

    name: SecretName = Field(description="Name of the credential.")


class Download(SpecModel):
    """How video is fetched."""

    max_height: int = Field(
        default=1080,
        ge=144,
        le=4320,
        description="Tallest picture that is fetched, in pixels; the best one up to it is taken.",
    )
    max_bytes: int | None = Field(
        default=None,
        ge=1,
        le=2**40,
        description="Larger videos are left out, in bytes. Absent means no bound.",
    )
    secret_ref: SecretRef | None = Field(
        default=None, description="Credential for sites that need one. Absent means none is used."
    )
