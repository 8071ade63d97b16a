"""The page holds everything itself and lets nobody in."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from html.parser import HTMLParser

from data_miner_worker.report.content import (
    Cluster,
    Content,
    Histogram,
    Member,
    Picture,
    ShownBox,
    ShownImage,
    Step,
    VideoLine,
)
from data_miner_worker.report.page import page
from data_miner_worker.told import Trouble

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;"
PICTURE = Picture("data:image/jpeg;base64,AAAA", 16 / 9)
KEPT = Member(PICTURE, "v1", 25, 1.0, None)
CONTENT = Content(
    project="doors",
    digest="ab" * 32,
    wave=2,
    classes=("door", "window"),
    image_count=2,
    box_count=1,
    bytes=123456,
    splits={"train": 1, "val": 1, "test": 0},
    empty_splits=("test",),
    boxes_by_class={"door": {"train": 1}},
    steps=(Step("found", 10, "videos"), Step("looked at", 100, "frames")),
    rejected={"positive": 40, "junk_margin": 1},
    shown=(
        ShownImage(
            picture=PICTURE,
            name="v1_000025.jpg",
            split="train",
            seconds=1.0,
            scores={"positive": 0.81},
            best_prompt="a door",
            boxes=(ShownBox(0, 0.1, 0.2, 0.3, 0.4, 0.77, 2),),
            duplicates=3,
        ),
    ),
    histograms=(Histogram("positive", 0, 1, [0, 2], [8, 0], 0.3, keeps_above=True),),
    clusters=(Cluster((KEPT, Member(None, "v2", 50, 2.0, 0.99961)), 9),),
    cluster_count=1,
    troubles=(Trouble("download", "http_404", 3, "gone", failed=True),),
    left_out={"detect_failed": 1},
    costs={"bytes_downloaded": 4e9, "cpu_seconds": 30.0, "frames_decoded": 500.0},
    videos=(VideoLine("v1", "A title", "CC-BY", "train", 2),),
    video_count=1,
    prompts={"positive": ["a door"], "negative": [], "junk": []},
    models={"filter": "tiny (abc)"},
)


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_nothing_is_loaded_from_elsewhere() -> None:
    """No address occurs but data and places in the page; a policy forbids the rest."""
    html = page(CONTENT)
    elements = Elements(html)

    addresses = [
        str(value)
        for _, attributes in elements.found
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data", "poster"}
    ]
    assert addresses
    assert all(address.startswith(("data:image/jpeg", "#")) for address in addresses)
    assert b"http:" not in html
    assert b"https:" not in html
    assert b"@import" not in html
    assert b"url(" not in html
    policies = [a["content"] for _, a in elements.found if "http-equiv" in a]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_hostile_text_never_becomes_an_element() -> None:
    """Titles, names, prompts and errors of strangers are text, wherever they stand."""
    hostile = replace(
        CONTENT,
        project=HOSTILE,
        classes=(HOSTILE, "b"),
        boxes_by_class={HOSTILE: {"train": 1}},
        shown=(replace(CONTENT.shown[0], name=HOSTILE, best_prompt=HOSTILE),),
        clusters=(Cluster((replace(KEPT, video_id=HOSTILE),), 2),),
        troubles=(Trouble(HOSTILE, HOSTILE, 1, HOSTILE, failed=False),),
        left_out={HOSTILE: 1},
        videos=(VideoLine(HOSTILE, HOSTILE, HOSTILE, "train", 1),),
        prompts={"positive": [HOSTILE]},
        models={HOSTILE: HOSTILE},
    )
    elements = Elements(page(hostile))

    assert not [name for name, _ in elements.found if name == "script"]
    assert not [a for _, a in elements.found if any(key.startswith("on") for key in a)]
    assert len([text for text in elements.text if HOSTILE in text]) >= 10


def test_everything_that_is_asked_for_is_there() -> None:
    """Funnel, boxes, thresholds, clusters with the kept frame first, failures, costs per image."""
    html = page(CONTENT).decode()
    text = " ".join(Elements(page(CONTENT)).text)

    for words in (
        "From video to image",
        "40 frames not over the positive threshold",
        "v1_000025.jpg",
        "door 0.77",
        "2 agree",
        "stands for 4 frames",
        "threshold 0.3",
        "cosine 0.999",  # not rounded up to 1
        "and 7 more",
        "http 404",
        "detect failed",
        "2 GB",  # 4 GB for two images
        "A title",
        "No images for test",
    ):
        assert words in text, words
    cluster = html[html.index('class="cluster"') :]
    assert cluster.index("badge") < cluster.index("cosine")
    box = re.search(r'<rect x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)" height="([0-9.]+)"', html)
    assert box is not None
    assert box.groups() == ("10.00", "20.00", "30.00", "40.00")


def test_a_bare_project_has_a_page_as_well() -> None:
    """Without filter, dedup, labels, failures and figures, the page is whole and says so."""
    needed = {"project", "digest", "wave", "image_count", "splits", "steps"}
    empty = {
        field.name: type(getattr(CONTENT, field.name))()
        for field in fields(CONTENT)
        if field.name not in needed
    }
    html = page(replace(CONTENT, **empty)).decode()

    assert "Nothing failed." in html
    assert "No costs were recorded." in html
    assert 'id="scores"' not in html
    assert 'id="duplicates"' not in html
    assert 'id="labels"' not in html


def test_the_same_content_is_the_same_page() -> None:
    """Nothing in the page depends on when it was made."""
    assert page(CONTENT) == page(CONTENT)
