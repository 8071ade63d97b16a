"""What becomes of the video: one section a stage, each of them optional."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, Strict

from data_miner.spec.base import Broken, Cel, Checked, SpecModel
from data_miner.spec.duration import Duration
from data_miner.spec.text import ClassName, Location, ModelName, Text

Fraction = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(ge=-100, le=100)]

DEFAULT_EVERY_SECONDS: Final = 2.0
DEFAULT_EVERY_FRAMES: Final = 30


class Strategy(StrEnum):
    """Which frames of a video are looked at."""

    INTERVAL = "Interval"
    TIME = "Time"
    KEYFRAME = "Keyframe"


class Sampling(SpecModel):
    """Which frames of a video are looked at."""

    strategy: Annotated[Strategy, Strict(False)] = Field(
        default=Strategy.TIME,
        description="Interval takes every Nth frame, Time one frame every so often by the video's "
        "own clock, Keyframe the frames that are stored whole: the cheapest to decode.",
    )
    every: Duration | None = Field(
        default_factory=lambda data: _default(data, Strategy.TIME, DEFAULT_EVERY_SECONDS),
        description="Time between frames. Only with strategy Time, where the default is 2s.",
    )
    every_frames: int | None = Field(
        default_factory=lambda data: _default(data, Strategy.INTERVAL, DEFAULT_EVERY_FRAMES),
        ge=1,
        le=1_000_000,
        description="Frames from one to the next. Only with strategy Interval, where the default "
        "is 30.",
    )
    max_frames_per_video: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="Most frames of one video; where it binds, they spread over the whole video.",
    )

    cel: ClassVar = (
        Cel(
            "!has(self.every) || self.strategy == 'Time'",
            "goes only with strategy Time",
            "'goes only with strategy Time; the strategy is ' + self.strategy",
            field_path=".every",
        ),
        Cel(
            "!has(self.everyFrames) || self.strategy == 'Interval'",
            "goes only with strategy Interval",
            "'goes only with strategy Interval; the strategy is ' + self.strategy",
            field_path=".everyFrames",
        ),
    )

    def broken_rules(self) -> Iterator[Broken]:
        for name, value, strategy in (
            ("every", self.every, Strategy.TIME),
            ("everyFrames", self.every_frames, Strategy.INTERVAL),
        ):
            if value is not None and self.strategy is not strategy:
                yield Broken(
                    (name,), f"goes only with strategy {strategy}; the strategy is {self.strategy}"
                )


def _default(data: dict[str, Any], strategy: Strategy, value: Any) -> Any:
    return value if data.get("strategy") is strategy else None


class Space(StrEnum):
    """What scores and thresholds are measured in."""

    PROBABILITY = "Probability"
    LOGIT = "Logit"


class Thresholds(SpecModel):
    """Where the filter draws its lines. All comparisons are strict."""

    positive: Score = Field(
        default=0.3,
        description="The best positive prompt must score more than this. 0 to 1, or a logit where "
        "space is Logit.",
    )
    negative: Score = Field(
        default=0.3,
        description="The best negative prompt must score less than this. 0 to 1, or a logit where "
        "space is Logit.",
    )
    junk: Score = Field(
        default=0.3,
        description="The best junk prompt must score less than this. 0 to 1, or a logit where "
        "space is Logit.",
    )
    negative_margin: Score = Field(
        default=0.1,
        description="The best positive prompt must beat the best negative one by more than this. "
        "0 to 1, or a difference of logits where space is Logit.",
    )
    junk_margin: Score = Field(
        default=0.05,
        description="The best positive prompt must beat the best junk one by more than this. "
        "0 to 1, or a difference of logits where space is Logit.",
    )


class Filter(SpecModel):
    """Which frames are kept: those that look like the prompts."""

    model: ModelName = Field(
        default="siglip2-base-patch16-256", description="Model that compares frames with prompts."
    )
    positive: tuple[Text, ...] = Field(
        min_length=1,
        max_length=200,
        strict=False,
        description="What a good frame shows, as a phrase. One match is enough.",
    )
    negative: tuple[Text, ...] = Field(
        default=(),
        max_length=200,
        strict=False,
        description="What looks similar but is not wanted. Empty asks for nothing.",
    )
    junk: tuple[Text, ...] = Field(
        default=(),
        max_length=200,
        strict=False,
        description="What makes any frame useless, such as a title screen. Empty asks for nothing.",
    )
    thresholds: Thresholds = Field(default=Thresholds(), description="Where the lines are drawn.")
    space: Annotated[Space, Strict(False)] = Field(
        default=Space.PROBABILITY,
        description="What thresholds are measured in. Probability is 0 to 1; Logit is the value "
        "before the sigmoid, which still tells frames apart where probabilities crowd at 0.",
    )

    cel: ClassVar = tuple(
        Cel(
            f"self.space == 'Logit' || (self.{at} >= 0.0 && self.{at} <= 1.0)",
            "must be a number from 0 to 1, unless space is Logit",
            field_path=f".{at}",
        )
        for at in (f"thresholds.{field.alias}" for field in Thresholds.model_fields.values())
    )

    def broken_rules(self) -> Iterator[Broken]:
        if self.space is Space.LOGIT:
            return
        for name, field in Thresholds.model_fields.items():
            value = getattr(self.thresholds, name)
            if not 0 <= value <= 1:
                yield Broken(
                    ("thresholds", str(field.alias)),
                    f"got {value:g}; must be a number from 0 to 1, unless space is Logit",
                )


class Prefer(StrEnum):
    """Which of several near-duplicates is kept."""

    FIRST = "First"
    SHARPEST = "Sharpest"


class Dedup(SpecModel):
    """How different the kept frames must be."""

    model: ModelName = Field(
        default="dinov2-small", description="Model that says how alike frames are."
    )
    threshold: float = Field(
        default=0.90,
        gt=0,
        le=1,
        description="Frames with at least this cosine similarity are near-duplicates.",
    )
    prefer: Annotated[Prefer, Strict(False)] = Field(
        default=Prefer.FIRST,
        description="Which near-duplicate is kept: the First in the order of videos and frames, or "
        "the Sharpest. What a published version holds always stays.",
    )


class DetectClass(SpecModel):
    """A kind of object to label."""

    name: ClassName = Field(description="Name in the labels.")
    prompts: tuple[Text, ...] = Field(
        default_factory=lambda data: (data["name"],) if "name" in data else (),
        min_length=1,
        max_length=50,
        strict=False,
        description="Phrases that the detectors look for. The default is the name.",
    )
    min_score: Fraction = Field(default=0.3, description="Boxes that score less are dropped.")


class Detector(SpecModel):
    """A model that finds objects."""

    model: ModelName = Field(description="The model.")
    min_score: Fraction | None = Field(
        default=None,
        description="Boxes of this model that score less are dropped. Absent means that only the "
        "classes' own minScore counts.",
    )


class Detect(SpecModel):
    """Which objects are labelled, and by what."""

    classes: tuple[DetectClass, ...] = Field(
        min_length=1, max_length=200, strict=False, description="What to label, in label order."
    )
    detectors: tuple[Detector, ...] = Field(
        min_length=1, max_length=8, strict=False, description="Models that look for the classes."
    )
    agreement: int = Field(
        default=1, ge=1, le=8, description="Detectors that must find a box for it to be kept."
    )
    nms_iou: Fraction = Field(
        default=0.5,
        description="Boxes of one class that overlap more than this, as intersection over union, "
        "are one object.",
    )

    cel: ClassVar = (
        Cel(
            "self.classes.all(x, self.classes.exists_one(y, y.name == x.name))",
            "must name each class once",
            field_path=".classes",
        ),
        Cel(
            "self.detectors.all(x, self.detectors.exists_one(y, y.model == x.model))",
            "must name each model once",
            field_path=".detectors",
        ),
        Cel(
            "self.agreement <= self.detectors.size()",
            "must be at most the number of detectors",
            field_path=".agreement",
        ),
    )

    def broken_rules(self) -> Iterator[Broken]:
        for section, values in (
            ("classes", [c.name for c in self.classes]),
            ("detectors", [d.model for d in self.detectors]),
        ):
            key = "name" if section == "classes" else "model"
            for index, value in enumerate(values):
                if value in values[:index]:
                    first = values.index(value)
                    yield Broken(
                        (section, index, key),
                        f'got "{value}" again; {section}[{first}] has it already',
                    )
        if self.agreement > len(self.detectors):
            yield Broken(
                ("agreement",),
                f"got {self.agreement}; must be at most the number of detectors, "
                f"{len(self.detectors)}",
            )


class Target(SpecModel):
    """When there is enough."""

    images: int = Field(
        ge=1,
        le=10_000_000,
        description="Images wanted. Mining stops after the first wave of videos that reaches it.",
    )


class Format(StrEnum):
    """How labels are written."""

    COCO = "COCO"
    YOLO = "YOLO"
    PARQUET = "Parquet"


class ImageFormat(StrEnum):
    """How images are written."""

    JPEG = "JPEG"
    PNG = "PNG"


class ExportImage(SpecModel):
    """How images are written."""

    format: Annotated[ImageFormat, Strict(False)] = Field(
        default=ImageFormat.JPEG, description="JPEG is small, PNG loses nothing."
    )
    quality: int = Field(default=95, ge=1, le=100, description="JPEG quality; PNG does not use it.")


class Splits(SpecModel):
    """Shares of the images for training, validation and test; they sum to 1."""

    train: Fraction = Field(default=0.8, description="Share for training.")
    val: Fraction = Field(default=0.1, description="Share for validation.")
    test: Fraction = Field(default=0.1, description="Share for test.")

    cel: ClassVar = (
        Cel(
            "[self.train + self.val + self.test - 1.0].all(off, off <= 1e-6 && off >= -1e-6)",
            "train, val and test must sum to 1",
        ),
    )

    def broken_rules(self) -> Iterator[Broken]:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            yield Broken(
                (),
                "train, val and test must sum to 1; "
                f"{self.train:g} + {self.val:g} + {self.test:g} is {total:g}",
            )


def _in_one_order(formats: tuple[Format, ...]) -> tuple[Format, ...]:
    """Sorted, so that the order in which they were written makes no other dataset."""
    if len(set(formats)) < len(formats):
        raise ValueError("must name each format once")
    return tuple(f for f in Format if f in formats)


class Export(SpecModel):
    """What the dataset looks like and where it goes."""

    formats: Annotated[
        tuple[Annotated[Format, Strict(False)], ...],
        Field(min_length=1, max_length=len(Format), strict=False),
        Checked(_in_one_order, {"x-kubernetes-list-type": "set"}),
    ] = Field(default=tuple(Format), description="How labels are written.")
    splits: Splits = Field(
        default=Splits(), description="Shares of the images for training, validation and test."
    )
    split_link_threshold: Fraction = Field(
        default=0.75,
        description="Videos with frames of at least this cosine similarity go to the same split. "
        "At most dedup.threshold, since near-duplicates must never be divided.",
    )
    uri: Location | None = Field(
        default=None,
        description="Folder for the dataset: file://, s3://, gs:// or a plain path. A relative "
        "path counts from the folder of the project's own file. Absent means the home folder of "
        "data-miner. In a cluster it cannot change once it is set: the versions that were "
        "published stay where they are.",
    )
    image: ExportImage = Field(default=ExportImage(), description="How images are written.")


class Retention(SpecModel):
    """How long what can be made again is kept. A later stage makes it again by itself."""

    sources: Duration | None = Field(
        default=None,
        description="Downloaded videos are kept until this long after their last use. Absent "
        "means for ever.",
    )
    renders: Duration | None = Field(
        default=None,
        description="Frames that were decoded for a model are kept until this long after their "
        "last use. Absent means for ever.",
    )
    versions: Duration | None = Field(
        default=None,
        description="Dataset versions other than the newest are kept until this long after they "
        "were made. Absent means for ever.",
    )
