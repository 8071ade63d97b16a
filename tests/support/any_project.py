"""Any project that is right, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from data_miner.spec.duration import format_duration

WORDS = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=20
)  # fmt: skip
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
FRACTIONS = st.floats(0, 1)
DURATIONS = st.integers(1, 10**9).map(lambda ms: format_duration(ms / 1000))
NOTES = st.dictionaries(NAMES, WORDS, max_size=4)
URLS = NAMES.map(lambda name: f"https://{name}.example/watch?v={name}#t")


def section(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def some(strategy: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, min_size=least, max_size=4)


def unique_by(key: str, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, min_size=1, max_size=4, unique_by=lambda item: str(item[key]))


LIMITED = {"limit": st.integers(1, 10_000)}
SOURCES = st.one_of(
    section({"search": section({"query": WORDS}, **LIMITED)}),
    section({"channel": section({"url": URLS}, **LIMITED)}),
    section({"playlist": section({"url": URLS}, **LIMITED)}),
    section({"urls": section({"items": some(URLS, 1)}) | section({"file": WORDS})}),
    section({"files": section({"uri": NAMES.map(lambda n: f"s3://{n}/x")}, glob=WORDS)}),
)
SAMPLING = st.one_of(
    section({}, every=DURATIONS, maxFramesPerVideo=st.integers(1, 100_000)),
    section({"strategy": st.just("Interval")}, everyFrames=st.integers(1, 1_000_000)),
    section({"strategy": st.just("Keyframe")}),
)
THRESHOLD_KEYS = ("positive", "negative", "junk", "negativeMargin", "junkMargin")
FILTER = st.one_of(
    section(
        {"positive": some(WORDS, 1)},
        negative=some(WORDS),
        thresholds=section({}, **dict.fromkeys(THRESHOLD_KEYS, FRACTIONS)),
    ),
    section(
        {"positive": some(WORDS, 1), "space": st.just("Logit")},
        thresholds=section({}, **dict.fromkeys(THRESHOLD_KEYS, st.floats(-100, 100))),
    ),
)
DETECT = section(
    {
        "classes": unique_by("name", section({"name": NAMES}, prompts=some(WORDS, 1))),
        "detectors": unique_by("model", section({"model": NAMES}, minScore=FRACTIONS)),
    },
    nmsIou=FRACTIONS,
)
EXPORT = section(
    {},
    formats=st.lists(st.sampled_from(["COCO", "YOLO", "Parquet"]), min_size=1, unique=True),
    splits=FRACTIONS.map(lambda train: {"train": train, "val": 1 - train, "test": 0}),
    splitLinkThreshold=st.floats(0, 0.75),
    image=section({}, format=st.sampled_from(["JPEG", "PNG"]), quality=st.integers(1, 100)),
)
SPECS = section(
    {"sources": some(SOURCES, 1)},
    select=section({}, duration=section({}, min=DURATIONS), excludeTags=some(WORDS)),
    download=section({}, maxHeight=st.integers(144, 4320), secretRef=section({"name": NAMES})),
    sampling=SAMPLING,
    filter=FILTER,
    dedup=section({}, threshold=st.floats(0.75, 1), prefer=st.sampled_from(["First", "Sharpest"])),
    detect=DETECT,
    target=section({"images": st.integers(1, 10_000_000)}),
    export=EXPORT,
    retention=section({}, sources=DURATIONS, renders=DURATIONS, versions=DURATIONS),
    suspend=st.booleans(),
    priority=st.integers(-1000, 1000),
    deletionPolicy=st.sampled_from(["Retain", "Delete"]),
    ttlSecondsAfterFinished=st.integers(0, 315_360_000),
)
PROJECTS = section(
    {
        "apiVersion": st.just("data-miner.io/v1alpha1"),
        "kind": st.just("MiningProject"),
        "metadata": section({"name": NAMES}, namespace=NAMES, annotations=NOTES),
        "spec": SPECS,
    }
)  # fmt: skip
