"""Two projects share half of their videos: each shared file is fetched once, both are right."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from support import clips
from support.database import libpq
from support.media_server import MediaServer
from support.product import Product, write_project
from support.waiting import eventually

PROJECT = """
apiVersion: data-miner.io/v1alpha1
kind: MiningProject
metadata: {{name: {name}}}
spec:
  priority: {priority}
  sources:
    - urls: {{items: [{urls}]}}
  sampling: {sampling}
  filter:
    model: tiny-siglip
    positive: [{prompt}]
    thresholds: {{positive: 0.5}}
  dedup: {{model: tiny-dino, threshold: 0.95}}
  export: {{formats: [COCO], splits: {{train: 0.5, val: 0.25, test: 0.25}}}}
"""
SHARED = ("/shared/star.mp4", "/shared/ring.webm")
PIECES = {
    "/shared/star.mp4": clips.STAR,
    "/shared/ring.webm": clips.OTHER_RING,
    "/stars/one.webm": clips.OTHER_STAR,
    "/stars/two.webm": clips.THIRD_RING,
    "/rings/one.mp4": clips.RING,
    "/rings/two.webm": clips.THIRD_STAR,
}
WANTED = {
    "stars": ("a photo of a star", "{strategy: Time, every: 200ms}"),
    "rings": ("a photo of a ring", "{strategy: Interval, everyFrames: 7}"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Both projects on one installation."""

    product: Product
    server: MediaServer

    def file(self, name: str, *, priority: int = 0) -> Path:
        """The project's file."""
        prompt, sampling = WANTED[name]
        paths = [*SHARED, f"/{name}/one", f"/{name}/two"]
        urls = [self.server.url(p) for p in self.server.pages if p.startswith(tuple(paths))]
        text = PROJECT.format(
            name=name, priority=priority, urls=", ".join(urls), prompt=prompt, sampling=sampling
        )
        return write_project(self.product.home.parent, text, f"{name}.yaml")

    def do(self, *arguments: str | Path) -> None:
        """A command that must succeed."""
        finished = self.product.do(*arguments)
        assert finished.code == 0, finished.err

    def state(self, name: str) -> Any:
        """What `status` says about a project."""
        finished = self.product.do("status", name, "--json")
        assert finished.code == 0, finished.err
        return finished.json[0]

    def sponsor(self, video: str) -> str | None:
        """Name of the project on whose account a video is being fetched now."""
        query = """
            SELECT p.name FROM tasks t
            JOIN projects p USING (project_id) JOIN videos v USING (video_id)
            WHERE t.stage = 'download' AND t.state = 'running' AND v.url = %s
        """
        url = libpq(self.product.environment["DATA_MINER_DATABASE_URL"])
        connection = psycopg2.connect(url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, (self.server.url(video),))
                row = cursor.fetchone()
        finally:
            connection.close()
        return str(row[0]) if row else None

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker beside the block; after it, the worker has done all that there was to do."""
        process = self.product.start("worker", "--slots", "2", "--until-idle")
        try:
            yield
            log, problem = process.communicate(timeout=120)
            assert process.returncode == 0, log + problem
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate(timeout=30)


@pytest.fixture(scope="module")
def server(media_server: MediaServer, tmp_path_factory: pytest.TempPathFactory) -> MediaServer:
    """Six clips: two that both projects want, two for each alone."""
    folder = tmp_path_factory.mktemp("pieces")
    for path, what in PIECES.items():
        kind = f"video/{Path(path).suffix[1:]}"
        media_server.add(path, clips.piece(what, folder), content_type=kind)
    return media_server


@pytest.fixture(scope="module")
def alone(server: MediaServer, new_product: Callable[[str], Product]) -> dict[str, str]:
    """The digest of each project's dataset, mined where the other one does not exist."""
    digests = {}
    for name in WANTED:
        pair = Pair(new_product(f"alone-{name}"), server)
        summary = pair.product.mine(pair.file(name))
        assert summary["dataset"]["images"] >= 2
        digests[name] = summary["dataset"]["digest"]
    assert digests["stars"] != digests["rings"]
    return digests


@pytest.fixture
def pair(server: MediaServer, new_product: Callable[[str], Product]) -> Pair:
    """Both projects applied to one empty installation, and nobody works yet."""
    server.forget_counts()
    both = Pair(new_product("both"), server)
    for name in WANTED:
        both.do("apply", both.file(name))
    return both


def complete(pair: Pair, name: str) -> str:
    """The digest of a project that must be complete."""
    state = pair.state(name)
    assert state["phase"]["name"] == "Complete", json.dumps(state, indent=1)
    assert state["failed"] == 0
    return str(state["dataset"]["digest"])


def test_what_two_projects_share_is_fetched_once_and_both_are_right(
    pair: Pair, alone: dict[str, str]
) -> None:
    """Mined at once, each project gives what it gives alone, and no file is sent twice."""
    with pair.worker():
        pass
    assert {name: complete(pair, name) for name in WANTED} == alone
    assert {path: page.times_sent for path, page in pair.server.pages.items()} == dict.fromkeys(
        PIECES, 1
    )


@pytest.mark.parametrize("what", ["suspend", "delete", "reprioritise"])
def test_what_befalls_one_project_in_the_middle_leaves_the_other_unharmed(
    what: str, pair: Pair, alone: dict[str, str]
) -> None:
    """The project that pays for a shared download goes, or changes, while that download runs."""
    with pair.server.hold(SHARED[0]) as held, pair.worker():
        assert held.asked.wait(120)
        eventually(lambda: pair.sponsor(SHARED[0]) is not None, what="a sponsor")
        struck = pair.sponsor(SHARED[0])
        assert struck is not None
        (other,) = set(WANTED) - {struck}
        if what == "suspend":
            pair.do("pause", struck)
        elif what == "delete":
            pair.do("delete", struck)
        else:
            pair.do("apply", pair.file(struck, priority=-500))
        held.open.set()
    assert complete(pair, other) == alone[other]
    for path in SHARED:
        assert pair.server.pages[path].times_sent == 1, path

    if what == "delete":
        assert pair.product.do("status", struck).code == 2
        return
    if what == "suspend":
        assert pair.state(struck)["phase"]["name"] == "Suspended"
        pair.do("resume", struck)
        with pair.worker():
            pass
    assert complete(pair, struck) == alone[struck]
    assert {page.times_sent for page in pair.server.pages.values()} == {1}
