"""Where an image comes from."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_miner.catalog.explain import explain
from data_miner.catalog.explanation import Explanation
from data_miner.errors import NotFoundError
from data_miner.stage import Artifact, Assignment, Done, Outcome
from support.catalog import World, project, video


class Library:
    """Files in memory, and stages that write real tables into it."""

    def __init__(self, world: World) -> None:
        self.files: dict[str, bytes] = {}
        world.answers["filter", "a"] = self._filter
        world.answers["dedup", None] = self._dedup
        world.answers["detect", "a"] = self._detect
        world.answers["export", None] = self._export

    def read(self, file: Artifact) -> bytes:
        """The content of a file."""
        return self.files[file.sha256]

    def _keep(self, kind: str, data: bytes) -> Artifact:
        sha256 = hashlib.sha256(data).hexdigest()
        self.files[sha256] = data
        return Artifact(kind, f"file:///store/{sha256}", len(data), sha256)

    def _table(self, kind: str, rows: list[dict[str, Any]]) -> Artifact:
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), stream)
        return self._keep(kind, stream.getvalue())

    def _filter(self, _: Assignment) -> Outcome:
        rows = [
            {
                "frame": frame,
                "pts_seconds": frame / 10,
                "sharpness": 100.0 + frame,
                "positive": positive,
                "negative": 0.2,
                "junk": None,
                "best_prompt": 0,
                "kept": positive > 0.3,
                "reason": "kept" if positive > 0.3 else "positive",
            }
            for frame, positive in ((10, 0.9), (20, 0.8), (30, 0.1))
        ]
        return Done((self._table("scores", rows),), {"frames": 2})

    def _dedup(self, _: Assignment) -> Outcome:
        rows = [
            {
                "video_id": "a",
                "source_sha256": "0" * 64,
                "frame": frame,
                "pts_seconds": frame / 10,
                "status": status,
                "representative_video_id": "a",
                "representative_frame": 10,
                "cosine": cosine,
            }
            for frame, status, cosine in ((10, "kept", 1.0), (20, "duplicate", 0.97))
        ]
        facts = {"frames": 1, "kept_by_video": {"a": 1}}
        return Done((self._table("selection", rows),), facts)

    def _detect(self, _: Assignment) -> Outcome:
        box = {"frame": 10, "class_name": "ball", "x0": 1.0, "y0": 2.0, "x1": 30.0, "y1": 40.0}
        rows = [
            {**box, "detector": "tiny-detector", "score": 0.8, "agreement": 1},
            {**box, "detector": "merged", "score": 0.7, "agreement": 1},
        ]
        return Done((self._table("detections", rows),), {"frames": 1, "boxes": 1})

    def _export(self, given: Assignment) -> Outcome:
        manifest = {
            "images": [{"name": "a_000010.jpg", "split": "val"}],
            "left_out": [],
            "params": dict(given.params),
        }
        file = self._keep("manifest", json.dumps(manifest).encode())
        dataset = {"digest": file.sha256, "images": 1, "uri": "/datasets/balls", "summary": {}}
        return Done((file,), {"frames": 1}, {"dataset": dataset})


@pytest.fixture
def library(world: World) -> Library:
    """A mined project with one video, one image, one duplicate and one refused frame."""
    made = Library(world)
    world.listings[0] = [video("a", 0, title="Balls", metadata={"licence": "CC-BY"})]
    world.apply(project())
    world.work()
    return made


def _explain(world: World, library: Library, image: str) -> Explanation:
    with world.begin() as conn:
        return explain(conn, image, library.read)


@pytest.mark.parametrize("name", ["a_000010", "a_000010.jpg", "images/val/a_000010.jpg"])
def test_an_image_is_explained_from_its_name(world: World, library: Library, name: str) -> None:
    """Video, time, licence, scores, what it stands for, boxes, split and versions."""
    found = _explain(world, library, name)

    assert (found.video_id, found.frame, found.pts_seconds) == ("a", 10, 1.0)
    assert (found.title, found.url, found.licence) == ("Balls", "https://video.test/a", "CC-BY")
    (use,) = found.uses
    assert (use.project, use.wave, use.verdict, use.split) == ("default/balls", 1, "kept", "val")
    assert use.scores == {"positive": 0.9, "negative": 0.2}
    assert use.best_prompt == "a red ball"
    assert (use.representative, use.stands_for) == (None, ("a_000020",))
    assert [b.detector for b in use.boxes] == ["merged", "tiny-detector"]
    assert use.boxes[0].box_xyxy == (1.0, 2.0, 30.0, 40.0)
    assert [v.version for v in use.versions] == [1]
    assert set(use.models) == {"tiny-clip", "tiny-dino", "tiny-detector"}
    assert set(use.recipes) == set(project_stages(world))


def project_stages(world: World) -> list[str]:
    """Stages of the only project."""
    return [row.stage for row in world.rows("SELECT stage FROM project_stages")]


def test_the_explanation_reads_well(world: World, library: Library) -> None:
    """Lines for people with the scores beside their thresholds."""
    text = _explain(world, library, "a_000010").text()

    assert text.splitlines()[0] == "a_000010: frame 10 at 1.000 s of Balls"
    assert "  licence: CC-BY" in text
    assert "for 'a red ball'" in text
    assert "stands for 1 other: a_000020" in text
    assert "ball 0.700 by merged at (1.0, 2.0, 30.0, 40.0)" in text
    assert "in version 1 (" in text


def test_a_duplicate_names_what_was_kept_in_its_place(world: World, library: Library) -> None:
    """A frame that is in no version is explained as well."""
    (use,) = _explain(world, library, "a_000020").uses

    assert (use.verdict, use.representative, use.cosine) == ("duplicate", "a_000010", 0.97)
    assert use.versions == ()
    assert use.split is None


def test_a_refused_frame_says_why(world: World, library: Library) -> None:
    """The filter's reason and the score that decided."""
    (use,) = _explain(world, library, "a_000030").uses

    assert use.verdict == "refused: positive"
    assert use.scores["positive"] == 0.1


def test_an_older_version_still_names_its_image(world: World, library: Library) -> None:
    """After a changed prompt both the old version and the new one are found."""
    world.apply(project(filter={"model": "tiny-clip", "positive": ["a box"]}))
    world.work()

    (use,) = _explain(world, library, "a_000010").uses

    assert [v.version for v in use.versions] == [2, 1]
    assert use.best_prompt == "a box"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a_000011", "frame 11 of 'a' was not looked at"),
        ("b_000010", "no project knows a video 'b'"),
        ("holiday.jpg", "is no image's name"),
        ("'; drop table videos; --", "is no image's name"),
        ("", "is no image's name"),
    ],
)
def test_a_name_that_is_unknown_says_what_is_wrong(
    world: World, library: Library, name: str, said: str
) -> None:
    """No such frame, no such video, and no name at all are three different lines."""
    with pytest.raises(NotFoundError, match=said):
        _explain(world, library, name)
