"""Projects that are accepted and refused: the same for the models and for an API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

API_VERSION: Final = "data-miner.io/v1alpha1"


@dataclass(frozen=True, slots=True)
class Case:
    """A project, and what is to become of it."""

    says: str
    """The rule in a sentence."""
    spec: Mapping[str, Any]
    refused_at: str = ""
    """Where both complain; empty when the project is accepted."""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def object(self) -> dict[str, Any]:
        """The whole object."""
        return {
            "apiVersion": API_VERSION,
            "kind": "MiningProject",
            "metadata": {"name": "doors", "namespace": "default", **self.metadata},
            "spec": dict(self.spec),
        }


ANY_SOURCE: Final = {"search": {"query": "doors"}}


def good(says: str, /, **spec: Any) -> Case:
    """A source and these sections are accepted."""
    return Case(says, {"sources": [ANY_SOURCE], **spec})


def bad(says: str, at: str, /, **spec: Any) -> Case:
    """A source and these sections are refused."""
    return Case(says, {"sources": [ANY_SOURCE], **spec}, at)


def named(says: str, at: str, /, **metadata: Any) -> Case:
    """A project that is called so."""
    return Case(says, {"sources": [ANY_SOURCE]}, at, metadata)


def files(uri: str) -> list[Any]:
    """Sources that are one place with files."""
    return [{"files": {"uri": uri}}]


def page(url: str) -> list[Any]:
    """Sources that are one channel."""
    return [{"channel": {"url": url}}]


def keep(**filter_fields: Any) -> dict[str, Any]:
    """A filter with one prompt."""
    return {"positive": ["a door"], **filter_fields}


def find(**detect_fields: Any) -> dict[str, Any]:
    """One class, one detector."""
    return {"classes": [{"name": "door"}], "detectors": [{"model": "m"}], **detect_fields}


_SOURCES = (
    good("one source is enough"),
    good("a hundred sources are allowed", sources=[ANY_SOURCE] * 100),
    bad("a hundred and one are not", "spec.sources", sources=[ANY_SOURCE] * 101),
    bad("no source is too few", "spec.sources", sources=[]),
    bad("sources that are null are missing", "spec.sources", sources=None),
    bad("one source without a list is no list", "spec.sources", sources=ANY_SOURCE),
    bad("a source is something", "spec.sources[0]", sources=[{}]),
    bad("a source is no null", "spec.sources[0]", sources=[None]),
    bad(
        "a source is one thing",
        "spec.sources[0]",
        sources=[{**ANY_SOURCE, "files": {"uri": "a"}}],
    ),
    good("a null beside it counts for nothing", sources=[{**ANY_SOURCE, "files": None}]),
    bad("a search needs words", "spec.sources[0].search.query", sources=[{"search": {}}]),
    bad(
        "words are a text",
        "spec.sources[0].search.query",
        sources=[{"search": {"query": 7}}],
    ),
    good("words have 300 characters", sources=[{"search": {"query": "ü" * 300}}]),
    bad(
        "and not 301",
        "spec.sources[0].search.query",
        sources=[{"search": {"query": "ü" * 301}}],
    ),
    good("letters beyond 16 bits count once", sources=[{"search": {"query": "🚪" * 300}}]),
    bad(
        "words are on one line",
        "spec.sources[0].search.query",
        sources=[{"search": {"query": "a\nb"}}],
    ),
    bad(
        "words end with no line break",
        "spec.sources[0].search.query",
        sources=[{"search": {"query": "a\n"}}],
    ),
    bad(
        "words begin with no space",
        "spec.sources[0].search.query",
        sources=[{"search": {"query": " a"}}],
    ),
    bad(
        "words hold no NUL",
        "spec.sources[0].search.query",
        sources=[{"search": {"query": "a\x00b"}}],
    ),
    good("every kind of source", sources=[
        {"search": {"query": "a", "limit": 1}},
        {"channel": {"url": "https://site.example/@doors", "limit": 10_000}},
        {"playlist": {"url": "http://site.example:8443/list?id=1#t"}},
        {"urls": {"items": ["https://site.example/a.mp4"]}},
        {"urls": {"file": "lists/urls.txt"}},
        {"files": {"uri": "gs://bucket", "glob": "*.mp4"}},
    ]),
    bad(
        "an address is of the web",
        "spec.sources[0].channel.url",
        sources=page("ftp://site.example/a"),
    ),
    bad("an address has a host", "spec.sources[0].channel.url", sources=page("https:///a")),
    bad("an address has no space", "spec.sources[0].channel.url", sources=page("https://a/b c")),
    bad(
        "an address holds no password",
        "spec.sources[0].channel.url",
        sources=page("https://me:s3cret@site.example/a"),
    ),
    bad(
        "nor a user name alone, before a question mark",
        "spec.sources[0].channel.url",
        sources=page("https://me@site.example?a"),
    ),
    bad(
        "nor one behind a backslash, which some take for a slash",
        "spec.sources[0].channel.url",
        sources=page("https://a.example\\@b.example"),
    ),
    good("an @ behind the host is only a letter", sources=page("https://a.example/?b@c")),
    good("also behind two more slashes", sources=page("https://a.example/http://b@c")),
    good("also without a path", sources=page("https://a.example#b@c")),
    good("an address has 2048 characters", sources=page("https://a.example/" + "a" * 2030)),
    bad(
        "and not 2049",
        "spec.sources[0].channel.url",
        sources=page("https://a.example/" + "a" * 2031),
    ),
    good("ten thousand addresses", sources=[{"urls": {"items": ["https://a/b"] * 10_000}}]),
    bad(
        "one more is too many",
        "spec.sources[0].urls.items",
        sources=[{"urls": {"items": ["https://a/b"] * 10_001}}],
    ),
    bad(
        "one bad address among good ones is found",
        "spec.sources[0].urls.items[1]",
        sources=[{"urls": {"items": ["https://a/b", "https://me:pw@a/b"]}}],
    ),
    bad(
        "addresses are given or in a file",
        "spec.sources[0].urls",
        sources=[{"urls": {"items": ["https://a/b"], "file": "a"}}],
    ),
    bad("one of both is needed", "spec.sources[0].urls", sources=[{"urls": {}}]),
    bad("an empty list is none", "spec.sources[0].urls.items", sources=[{"urls": {"items": []}}]),
)  # fmt: skip

_PLACES = (
    good("a plain path may go up", sources=files("../a folder/ünïcode")),
    good("a plain path may have colons", sources=files("a::b:/c")),
    good("a bucket alone is a place", sources=files("s3://bucket")),
    good("dots in a name are no way up", sources=files("s3://bucket/a..b/...")),
    good("a file URI is of this machine", sources=files("file:///media/raw")),
    bad("a place is no web page", "spec.sources[0].files.uri", sources=files("http://a/b")),
    bad("a scheme is written small", "spec.sources[0].files.uri", sources=files("S3://a/b")),
    bad("a scheme stands first", "spec.sources[0].files.uri", sources=files("a/s3://b")),
    bad("a bucket has a name", "spec.sources[0].files.uri", sources=files("s3://")),
    bad("slashes are no name", "spec.sources[0].files.uri", sources=files("gs:////")),
    bad("a file URI has no host", "spec.sources[0].files.uri", sources=files("file://media/a")),
    bad("a URI goes nowhere up", "spec.sources[0].files.uri", sources=files("s3://a/../b")),
    bad("not at its start", "spec.sources[0].files.uri", sources=files("s3://..")),
    bad("not at its end", "spec.sources[0].files.uri", sources=files("file:///a/..")),
    bad("a URI chains no others", "spec.sources[0].files.uri", sources=files("s3://a::file:///b")),
    bad("a place has no line break", "spec.sources[0].files.uri", sources=files("a\nb")),
    good("a place has 1024 characters", sources=files("a" * 1024)),
    bad("and not 1025", "spec.sources[0].files.uri", sources=files("a" * 1025)),
    bad("a list of addresses is at a place", "spec.sources[0].urls.file",
        sources=[{"urls": {"file": "http://a/b"}}]),
    bad("a dataset goes to a place", "spec.export.uri", export={"uri": "ftp://a/b"}),
    bad("no text is no place", "spec.export.uri", export={"uri": ""}),
)  # fmt: skip

_DURATIONS = (
    good("a millisecond", sampling={"every": "1ms"}),
    good("a thousandth of a second", sampling={"every": "0.001s"}),
    bad("no time at all", "spec.sampling.every", sampling={"every": "0s"}),
    bad("no time in three units", "spec.sampling.every", sampling={"every": "0d0h0ms"}),
    good("ten years", retention={"sources": "3650d"}),
    good("ten years in hours", retention={"sources": "87600h"}),
    bad("a millisecond more", "spec.retention.sources", retention={"sources": "3650d1ms"}),
    bad("in seconds", "spec.retention.sources", retention={"sources": "315360000.001s"}),
    good("all units", retention={"renders": "1d2h3m4s5ms"}),
    good("parts of units", retention={"renders": "1.5d0.25h"}),
    bad("units fall", "spec.retention.renders", retention={"renders": "1h1d"}),
    bad("a unit comes once", "spec.retention.renders", retention={"renders": "1h2h"}),
    bad("a week is seven days", "spec.retention.versions", retention={"versions": "1w"}),
    bad("a number has a unit", "spec.sampling.every", sampling={"every": "2"}),
    bad("a number is no text", "spec.sampling.every", sampling={"every": 2}),
    bad("units are small", "spec.sampling.every", sampling={"every": "2S"}),
    bad("time goes forward", "spec.sampling.every", sampling={"every": "-2s"}),
    bad("a space parts nothing", "spec.sampling.every", sampling={"every": "1h 30m"}),
    bad("no text is no time", "spec.sampling.every", sampling={"every": ""}),
    good("min may be max in other units", select={"duration": {"min": "24h", "max": "1d"}}),
    good("parts of days compare", select={"duration": {"min": "1.499d", "max": "36h"}}),
    bad("min is at most max", "spec.select.duration",
        select={"duration": {"min": "1d1ms", "max": "24h"}}),
    bad("also in parts", "spec.select.duration",
        select={"duration": {"min": "0.001d", "max": "86399ms"}}),
    good("min alone", select={"duration": {"min": "3650d"}}),
    good("max alone", select={"duration": {"max": "1ms"}}),
)  # fmt: skip

_CHOICES = (
    good("live streams may be taken", select={"live": "Allow"}),
    bad("an enum is written as it is", "spec.select.live", select={"live": "allow"}),
    bad("an enum is no flag", "spec.select.live", select={"live": False}),
    good("words that exclude", select={"excludeTags": ["a"] * 200, "excludeTitle": ["b c"]}),
    bad("201 are too many", "spec.select.excludeTags", select={"excludeTags": ["a"] * 201}),
    bad("null is no word", "spec.select.licences[0]", select={"licences": [None]}),
    bad("one word is no list", "spec.select.licences", select={"licences": "creativeCommon"}),
    good("a null section is absent", select=None, sampling=None, retention=None),
    good("a null number is absent", download={"maxBytes": None, "maxHeight": None}),
    good("a credential by name", download={"secretRef": {"name": "site-cookies.v2"}}),
    bad("a credential is no path", "spec.download.secretRef.name",
        download={"secretRef": {"name": "../cookies"}}),
    bad("a credential has a name", "spec.download.secretRef.name", download={"secretRef": {}}),
    good("Time with every", sampling={"strategy": "Time", "every": "2s"}),
    bad("every is Time's", "spec.sampling.every",
        sampling={"strategy": "Interval", "every": "2s"}),
    bad("also under Keyframe", "spec.sampling.every",
        sampling={"strategy": "Keyframe", "every": "2s"}),
    good("Interval with everyFrames", sampling={"strategy": "Interval", "everyFrames": 10}),
    good("Interval without", sampling={"strategy": "Interval"}),
    bad("everyFrames is Interval's", "spec.sampling.everyFrames", sampling={"everyFrames": 3}),
    good("a null every goes with any strategy", sampling={"strategy": "Keyframe", "every": None}),
)  # fmt: skip

_FILTER = (
    good("a prompt is enough", filter=keep()),
    bad("no prompt is not", "spec.filter.positive", filter={"model": "m"}),
    bad("an empty list is not", "spec.filter.positive", filter={"positive": []}),
    bad("a number is no prompt", "spec.filter.positive[0]", filter={"positive": [7]}),
    bad("true is no prompt", "spec.filter.positive[0]", filter={"positive": [True]}),
    bad("a blank is no prompt", "spec.filter.positive[1]", filter={"positive": ["a", " "]}),
    good("the same prompt twice is harmless", filter={"positive": ["a", "a"]}),
    good("thresholds from 0", filter=keep(thresholds={"positive": 0, "junk": 0.0})),
    good("to 1", filter=keep(thresholds={"negative": 1, "negativeMargin": 1.0})),
    bad("a probability is at most 1", "spec.filter.thresholds.positive",
        filter=keep(thresholds={"positive": 1.000001})),
    bad("a margin is no less than 0", "spec.filter.thresholds.junkMargin",
        filter=keep(space="Probability", thresholds={"junkMargin": -0.01})),
    good("a logit is any number", filter=keep(space="Logit", thresholds={"positive": -12.5})),
    good("up to 100", filter=keep(space="Logit", thresholds={"junk": 100})),
    bad("and no more", "spec.filter.thresholds.junk",
        filter=keep(space="Logit", thresholds={"junk": 100.5})),
    bad("a number is no text", "spec.filter.thresholds.junk",
        filter=keep(thresholds={"junk": "0.3"})),
    bad("a model is no path", "spec.filter.model", filter=keep(model="a/b")),
    good("a model with every sign", filter=keep(model="a-1.b_2")),
    bad("a model has a name", "spec.filter.model", filter=keep(model="")),
)  # fmt: skip

_DEDUP_AND_DETECT = (
    good("a threshold of 1", dedup={"threshold": 1}),
    good("a threshold near 0", dedup={"threshold": 1e-9}),
    bad("a threshold of 0", "spec.dedup.threshold", dedup={"threshold": 0}),
    bad("a percentage", "spec.dedup.threshold", dedup={"threshold": 90}),
    good("a class and a model", detect=find()),
    bad("no class", "spec.detect.classes", detect=find(classes=[])),
    bad("no detector", "spec.detect.detectors", detect=find(detectors=[])),
    good("names differ in case", detect=find(classes=[{"name": "a"}, {"name": "A"}])),
    bad("a class twice", "spec.detect.classes",
        detect=find(classes=[{"name": "a"}, {"name": "b"}, {"name": "a"}])),
    good("200 classes", detect=find(classes=[{"name": f"c{i}"} for i in range(200)])),
    bad("201 classes", "spec.detect.classes",
        detect=find(classes=[{"name": f"c{i}"} for i in range(201)])),
    bad("a model twice", "spec.detect.detectors",
        detect=find(detectors=[{"model": "a"}, {"model": "a", "minScore": 0.5}])),
    good("all detectors agree",
         detect=find(detectors=[{"model": "a"}, {"model": "b"}], agreement=2)),
    bad("more agreement than detectors", "spec.detect.agreement", detect=find(agreement=2)),
    good("a class with spaces", detect=find(classes=[{"name": "Door 1.0_"}])),
    bad("a class is no path", "spec.detect.classes[0].name",
        detect=find(classes=[{"name": "../a"}])),
    bad("prompts are not none", "spec.detect.classes[0].prompts",
        detect=find(classes=[{"name": "a", "prompts": []}])),
    good("50 prompts", detect=find(classes=[{"name": "a", "prompts": ["p"] * 50}])),
)  # fmt: skip

_EXPORT = (
    good("an export with its defaults", export={}),
    good("one format", export={"formats": ["YOLO"]}),
    good("formats in another order", export={"formats": ["Parquet", "COCO"]}),
    bad("a format twice", "spec.export.formats", export={"formats": ["COCO", "COCO"]}),
    bad("no format", "spec.export.formats", export={"formats": []}),
    bad("an unknown format", "spec.export.formats[1]", export={"formats": ["COCO", "Yolo"]}),
    good("no test split", export={"splits": {"train": 0.9, "val": 0.1, "test": 0}}),
    good("whole numbers", export={"splits": {"train": 1, "val": 0, "test": 0}}),
    good("thirds", export={"splits": {"train": 0.3333333, "val": 0.3333333, "test": 0.3333334}}),
    good("a millionth off", export={"splits": {"train": 0.8000009}}),
    bad("two millionths off", "spec.export.splits", export={"splits": {"train": 0.8000011}}),
    bad("two millionths less", "spec.export.splits", export={"splits": {"train": 0.7999989}}),
    bad("one split changed", "spec.export.splits", export={"splits": {"train": 0.9}}),
    bad("a split below 0", "spec.export.splits.val",
        export={"splits": {"train": 1, "val": -0.1, "test": 0.1}}),
    good("links as tight as near-duplicates",
         dedup={"threshold": 0.8}, export={"splitLinkThreshold": 0.8}),
    bad("links looser", "spec.export.splitLinkThreshold",
        dedup={"threshold": 0.8}, export={"splitLinkThreshold": 0.81}),
    bad("links looser by default", "spec.export.splitLinkThreshold",
        dedup={"threshold": 0.74}, export={}),
    good("a low threshold without an export", dedup={"threshold": 0.1}),
    good("tight links without dedup", export={"splitLinkThreshold": 1}),
    good("PNG", export={"image": {"format": "PNG"}}),
)  # fmt: skip

_LIFE = (
    good("what is made is kept", deletionPolicy="Retain", ttlSecondsAfterFinished=0),
    good("what is made is deleted", deletionPolicy="Delete", ttlSecondsAfterFinished=315_360_000),
    bad("there is no third policy", "spec.deletionPolicy", deletionPolicy="Orphan"),
    bad("a ttl is in seconds", "spec.ttlSecondsAfterFinished", ttlSecondsAfterFinished="1h"),
    good("suspended", suspend=True),
    bad("a flag is no text", "spec.suspend", suspend="true"),
    bad("a flag is no number", "spec.suspend", suspend=1),
    good("5.0 is a whole number", target={"images": 5.0}),
    bad("5.5 is none", "spec.target.images", target={"images": 5.5}),
    bad("true is none", "spec.target.images", target={"images": True}),
    bad("a number in quotes is none", "spec.target.images", target={"images": "5"}),
    bad("a target says how many", "spec.target.images", target={}),
    bad("beyond 64 bits", "spec.weight", weight=10**20),
    bad("an unknown section", "spec.fliter", fliter={"positive": ["a"]}),
    bad("an unknown key", "spec.download.max_height", download={"max_height": 720}),
    bad("a list for a section", "spec.download", download=[1]),
    bad("a text for a section", "spec.filter", filter="a door"),
    named("63 letters", "", name="a" * 63),
    named("64 letters", "metadata.name", name="a" * 64),
    named("a name with a dot", "metadata.name", name="a.b"),
    named("a name that begins with a digit", "", name="1a"),
    named("an object with as many annotations as there may be", "", annotations={
        f"example.com/{i}": "x" * 2000 for i in range(120)
    }),
)  # fmt: skip


def _at(path: str, value: Any) -> dict[str, Any]:
    """A spec with this value at a path of keys, and what its sections cannot be without."""
    sections = {"detect": find(detectors=[{"model": f"m{i}"} for i in range(8)])}
    first, *rest = path.split(".")
    made: Any = value
    for step in reversed(rest):
        made = {step: made}
    if rest and first in sections:
        made = {**sections[first], **made}
    return {first: made}


_RANGES: Final = {
    "download.maxHeight": (144, 4320),
    "download.maxBytes": (1, 2**40),
    "sampling.maxFramesPerVideo": (1, 100_000),
    "detect.agreement": (1, 8),
    "target.images": (1, 10_000_000),
    "export.image.quality": (1, 100),
    "priority": (-1000, 1000),
    "weight": (1, 100),
    "ttlSecondsAfterFinished": (0, 315_360_000),
}


def _both_sides(path: str, low: int, high: int) -> tuple[Case, ...]:
    return (
        good(f"{path} may be {low}", **_at(path, low)),
        good(f"{path} may be {high}", **_at(path, high)),
        bad(f"{path} may not be {low - 1}", f"spec.{path}", **_at(path, low - 1)),
        bad(f"{path} may not be {high + 1}", f"spec.{path}", **_at(path, high + 1)),
    )


CASES: Final = (
    *_SOURCES, *_PLACES, *_DURATIONS, *_CHOICES, *_FILTER, *_DEDUP_AND_DETECT, *_EXPORT, *_LIFE,
    *(case for path, (low, high) in _RANGES.items() for case in _both_sides(path, low, high)),
)  # fmt: skip
"""All of them. Sentences of neighbours read on from each other."""


def ids(cases: tuple[Case, ...]) -> list[str]:
    """A name for each, which tells two with the same sentence apart."""
    return [
        f"{index}-{'refused' if case.refused_at else 'accepted'}-{case.says}"
        for index, case in enumerate(cases)
    ]
