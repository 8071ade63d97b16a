"""Where an image of a dataset comes from, and why it was kept."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import pyarrow.parquet as pq
from sqlalchemy import Connection, Row, text

from data_miner.catalog import facts
from data_miner.catalog.explanation import Box, Explanation, Use, Version
from data_miner.catalog.facts import Found
from data_miner.errors import NotFoundError
from data_miner.stage import Artifact, Json

Read = Callable[[Artifact], bytes]
"""The content of a file of the store."""

_NAME: Final = re.compile(r"(?P<video_id>[A-Za-z0-9_-]{1,64})_(?P<frame>\d{6,})")
_MANIFESTS: Final = 20
"""Dataset versions that are looked into, newest first."""


def explain(conn: Connection, image: str, read: Read) -> Explanation:
    """What is known of an image by its name, ``{video_id}_{frame:06d}`` with or without an ending.

    Also of a frame that was looked at and not kept. Raises NotFoundError for a name that is none,
    for an unknown video, and for a frame that no project has looked at.
    """
    name = PurePath(image).stem if PurePath(image).suffix else PurePath(image).name
    match = _NAME.fullmatch(name)
    if match is None:
        raise NotFoundError(
            f"{image!r} is no image's name: expected a video's id, _, and six digits of a frame"
        )
    video_id, frame = match["video_id"], int(match["frame"])
    video = conn.execute(_VIDEO, {"video_id": video_id}).one_or_none()
    if video is None:
        raise NotFoundError(f"{image!r}: no project knows a video {video_id!r}")
    members = conn.execute(_MEMBERS, {"video_id": video_id}).all()
    uses = [_use(conn, member, frame, name, read) for member in members]
    known = tuple(use for use in uses if use is not None)
    if not known:
        raise NotFoundError(
            f"{image!r}: frame {frame} of {video_id!r} was not looked at by any project"
        )
    licence = video.metadata.get("licence") or video.metadata.get("license")
    return Explanation(
        image=name,
        video_id=video_id,
        frame=frame,
        pts_seconds=next((u.pts_seconds for u in known if u.pts_seconds is not None), None),
        url=video.url,
        title=video.title,
        licence=licence,
        uses=known,
    )


_VIDEO = text("SELECT url, title, metadata FROM videos WHERE video_id = :video_id")

_MEMBERS = text("""
    SELECT p.project_id, p.namespace, p.name, pv.video_id, pv.wave_id, pv.source_sha256, w.n
    FROM project_videos pv
    JOIN projects p USING (project_id)
    JOIN waves w ON w.wave_id = pv.wave_id AND w.epoch = p.wave_epoch
    WHERE pv.video_id = :video_id AND p.deleted_at IS NULL
    ORDER BY p.namespace, p.name
""")

_RECIPES = text("""
    SELECT s.stage, s.recipe_id, c.fingerprint, c.params
    FROM project_stages s JOIN recipes c USING (recipe_id) WHERE s.project_id = :project_id
""")

_DATASETS = text("""
    SELECT version, digest, uri, recipe_id, 'w' || wave_id AS subject
    FROM datasets WHERE project_id = :project_id ORDER BY version DESC LIMIT :most
""")


def _use(conn: Connection, member: Row[Any], frame: int, name: str, read: Read) -> Use | None:
    """What one project did with the frame; None when it has not looked at it."""
    recipes = {r.stage: r for r in conn.execute(_RECIPES, {"project_id": member.project_id})}
    wave = f"w{member.wave_id}"
    own = f"{wave}/{member.video_id}"
    params = {r.recipe_id: r.params for r in recipes.values()}
    found = facts.read(conn, params, {member.video_id, wave, own})
    by_stage = {f.fact.stage: f for f in found if f.fact.stage != "export"}
    files = _Files(by_stage, read)

    score = _first(files.rows("filter", "scores", [("frame", "=", frame)]))
    chosen = files.rows(
        "dedup", "selection", [("video_id", "=", member.video_id), ("frame", "=", frame)]
    )
    selected = _first(chosen)
    if score is None and selected is None:
        return None
    stands_for = files.rows(
        "dedup",
        "selection",
        [("representative_video_id", "=", member.video_id), ("representative_frame", "=", frame)],
    )
    judged = recipes["filter"].params if "filter" in recipes else {}
    versions, split, left_out = _versions(conn, member, frame, name, read)
    return Use(
        project=f"{member.namespace}/{member.name}",
        wave=member.n,
        source_sha256=member.source_sha256,
        pts_seconds=(score or selected or {}).get("pts_seconds"),
        verdict=_verdict(score, selected),
        scores=_numbers(score, ("positive", "negative", "junk")),
        thresholds=judged.get("thresholds") or {},
        best_prompt=_prompt(score, judged),
        sharpness=(score or {}).get("sharpness"),
        representative=_representative(selected, name),
        cosine=(selected or {}).get("cosine"),
        stands_for=tuple(
            sorted(
                other
                for row in stands_for
                if (other := image_name(row["video_id"], row["frame"])) != name
            )
        ),
        boxes=_boxes(files.rows("detect", "detections", [("frame", "=", frame)])),
        split=split,
        left_out=left_out,
        versions=versions,
        recipes={stage: r.fingerprint for stage, r in sorted(recipes.items())},
        models=_models(recipes),
    )


def image_name(video_id: str, frame: int) -> str:
    """The name of a frame's image, without an ending."""
    return f"{video_id}_{frame:06d}"


@dataclass(frozen=True)
class _Files:
    """Tables of one project's results; a file that is gone is empty."""

    found: Mapping[str, Found]
    read: Read

    def rows(
        self, stage: str, kind: str, filters: list[tuple[str, str, Json]]
    ) -> list[dict[str, Any]]:
        result = self.found.get(stage)
        files = [a for a in result.fact.artifacts if a.kind == kind] if result else []
        if not files:
            return []
        table = pq.read_table(io.BytesIO(self.read(files[0])), filters=filters)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


def _first(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return rows[0] if rows else None


def _verdict(score: Mapping[str, Any] | None, selected: Mapping[str, Any] | None) -> str:
    """``kept``, ``duplicate``, ``beyond_target``, ``undecided`` or why the filter refused it."""
    if selected is not None:
        return str(selected["status"])
    if score is not None and not score["kept"]:
        return f"refused: {score['reason']}"
    return "undecided"


def _numbers(row: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, float]:
    return {n: row[n] for n in names if row.get(n) is not None} if row else {}


def _prompt(score: Mapping[str, Any] | None, judged: Mapping[str, Any]) -> str | None:
    prompts = judged.get("positive") or []
    index = (score or {}).get("best_prompt")
    return str(prompts[index]) if index is not None and 0 <= index < len(prompts) else None


def _representative(selected: Mapping[str, Any] | None, name: str) -> str | None:
    """The kept frame that this one is too much like; None when it stands for itself."""
    if selected is None or selected.get("representative_video_id") is None:
        return None
    other = image_name(selected["representative_video_id"], selected["representative_frame"])
    return None if other == name else other


def _boxes(rows: Sequence[Mapping[str, Any]]) -> tuple[Box, ...]:
    return tuple(
        Box(
            class_name=row["class_name"],
            detector=row["detector"],
            score=row["score"],
            agreement=row["agreement"],
            box_xyxy=(row["x0"], row["y0"], row["x1"], row["y1"]),
        )
        for row in sorted(rows, key=lambda r: (r["detector"] != "merged", -r["score"]))
    )


def _models(recipes: Mapping[str, Row[Any]]) -> dict[str, str]:
    """Digests of the models that took part, by name."""
    models = {}
    for recipe in recipes.values():
        for given in (recipe.params, *recipe.params.get("detectors", ())):
            if given.get("model") and given.get("digest"):
                models[str(given["model"])] = str(given["digest"])
    return dict(sorted(models.items()))


def _versions(
    conn: Connection, member: Row[Any], frame: int, name: str, read: Read
) -> tuple[tuple[Version, ...], str | None, str | None]:
    """The versions with the image, newest first; its split there; why the newest leaves it out."""
    rows = conn.execute(_DATASETS, {"project_id": member.project_id, "most": _MANIFESTS}).all()
    found = facts.read(conn, {r.recipe_id: {} for r in rows}, {r.subject for r in rows})
    by_key = {f.key: f.fact for f in found}
    versions, split, left_out = [], None, None
    for place, row in enumerate(rows):
        fact = by_key.get((row.recipe_id, row.subject))
        files = [a for a in fact.artifacts if a.kind == "manifest"] if fact else []
        if not files:
            continue
        manifest = json.loads(read(files[0]))
        for image in manifest["images"]:
            if PurePath(image["name"]).stem == name:
                versions.append(Version(row.version, row.digest, row.uri))
                split = split or image["split"]
        for one in manifest.get("left_out", ()) if place == 0 else ():
            if (one["video_id"], one["frame"]) == (member.video_id, frame):
                left_out = str(one["reason"])
    return tuple(versions), split, left_out
