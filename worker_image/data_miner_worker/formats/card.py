"""README.md of a dataset: what it is, where it comes from, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_miner.outside import redact
from data_miner_worker.dataset import Dataset
from data_miner_worker.report.words import count, several
from data_miner_worker.told import Told


def card(dataset: Dataset, told: Told, *, project: str, digest: str) -> bytes:
    """Markdown. Titles and addresses come from strangers, so they are written as plain text."""
    parts = [
        f"# {_plain(project)}",
        (
            f"{several(len(dataset.images), 'image')}, {several(dataset.boxes, 'box', 'boxes')}, "
            f"version `{digest[:16]}`. Mined from video with data-miner; `report.html` shows how."
        ),
        _split_table(dataset),
        "## Files\n\n" + _files(dataset),
        "## How the images were chosen\n\n" + _choice(dataset.spec["decisions"]),
        "## Where they come from\n\n"
        "Whoever uses the images must respect the licence of each video. `unknown` means that the "
        "site did not say.\n\n" + _sources(dataset, told),
    ]
    if dataset.is_labelled:
        parts.insert(
            5,
            "## Labels\n\nBoxes were made by models, not checked by people. An image without boxes "
            "is one in which nothing was found.",
        )
    return ("\n\n".join(parts) + "\n").encode()


def _split_table(dataset: Dataset) -> str:
    lines = ["| split | images |", "|---|---:|"]
    lines += [f"| {split} | {count(number)} |" for split, number in dataset.split_sizes.items()]
    lines.append("\nVideos that look alike, or were uploaded together, are never divided.")
    if dataset.empty_splits:
        empty = " and ".join(dataset.empty_splits)
        lines.append(f"So {empty} stayed empty: there were too few videos that are unlike.")
    return "\n".join(lines)


def _files(dataset: Dataset) -> str:
    listed = {
        "`images/{split}/`": "the images",
        "`annotations/{split}.json`": "COCO; `file_name` counts from `images/{split}`",
        "`manifest.json`": "every file with its SHA-256, every image with its scores and boxes; "
        "its own SHA-256 names the version",
        "`provenance.json`": "addresses, licences, times and versions of tools",
        "`classes.txt`": "class names, one a line",
    }
    formats = dataset.spec["formats"]
    if "YOLO" in formats and dataset.is_labelled:
        listed["`data.yaml`, `labels/{split}/`"] = "YOLO, as Ultralytics reads it"
    if "Parquet" in formats:
        listed["`images.parquet`"] = "one row an image"
    return "\n".join(f"- {name}: {what}" for name, what in listed.items())


def _choice(decisions: Mapping[str, Any]) -> str:
    lines = []
    rule = decisions.get("filter", {})
    if rule.get("model"):
        for kind in ("positive", "negative", "junk"):
            if rule[kind]:
                prompts = "; ".join(_plain(prompt) for prompt in rule[kind])
                lines.append(
                    f"- {kind} prompts (threshold {rule['thresholds'][kind]:g}): {prompts}"
                )
        lines.append(f"- filter model: {_plain(rule['model'])}")
    dedup = decisions.get("dedup", {})
    if dedup.get("model"):
        lines.append(
            f"- no two images with a cosine of {dedup['threshold']:g} or more by {dedup['model']}"
        )
    detectors = decisions.get("detect", {}).get("detectors", ())
    if detectors:
        names = ", ".join(_plain(one["model"]) for one in detectors)
        lines.append(f"- boxes by {names}")
    return "\n".join(lines) or "Every sampled frame was taken."


def _sources(dataset: Dataset, told: Told) -> str:
    lines = ["| video | images | title | licence | address |", "|---|---:|---|---|---|"]
    images: dict[str, int] = {}
    for image in dataset.images:
        images[image.video_id] = images.get(image.video_id, 0) + 1
    for video_id, number in sorted(images.items()):
        one = told.videos.get(video_id)
        licence = one and (one.metadata.get("licence") or one.metadata.get("license"))
        cells = (
            video_id,
            count(number),
            (one and one.title) or "",
            licence or "unknown",
            redact((one and one.url) or ""),
        )
        lines.append("| " + " | ".join(_plain(str(cell)) for cell in cells) + " |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text that Markdown takes literally, on one line."""
    one_line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]()#|!" else letter for letter in one_line)
