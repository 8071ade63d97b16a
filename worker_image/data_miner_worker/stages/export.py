"""export: everything that the waves so far have made becomes one immutable dataset version."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from data_miner.stage import Context, Done, Outcome, Skip
from data_miner.storage.pointer import MANIFEST
from data_miner_worker.dataset import Dataset
from data_miner_worker.formats.card import card
from data_miner_worker.formats.coco import coco_files
from data_miner_worker.formats.manifest import digest as digest_of
from data_miner_worker.formats.manifest import manifest
from data_miner_worker.formats.parquet import parquet_files
from data_miner_worker.formats.provenance import provenance
from data_miner_worker.formats.yolo import yolo_files
from data_miner_worker.gather import gather
from data_miner_worker.publish import Content, publish
from data_miner_worker.report.collect import collect
from data_miner_worker.report.page import page
from data_miner_worker.told import Told


class Export:
    """Writes a version and points the project's dataset to it."""

    name: ClassVar[str] = "export"

    def run(self, context: Context) -> Outcome:
        assignment = context.assignment
        told = Told.of(context)
        gathered = gather(context, told.upload_groups)
        dataset = gathered.dataset
        if not dataset.images:
            return Skip(f"NoImages: {_why_none(dataset)}")
        formatted = formats(dataset)
        manifest_bytes = manifest(dataset, formatted)
        digest = digest_of(manifest_bytes)
        pictures = {}
        for image in dataset.images:
            pictures[image.name] = context.fetch(gathered.files[image.name])
            context.tick()
        report = page(collect(context, gathered, told, digest=digest, files=pictures))
        files: dict[str, Content] = {
            **{image.path: pictures[image.name] for image in dataset.images},
            **formatted,
            "README.md": card(dataset, told, project=assignment.project_name, digest=digest),
            "report.html": report,
            "provenance.json": provenance(context, dataset, told, digest),
            MANIFEST: manifest_bytes,
        }
        stored = context.scratch / MANIFEST
        stored.write_bytes(manifest_bytes)
        artifact = context.publish(stored, "manifest")
        # Last: what people find under the dataset's name should be what is about to be recorded.
        uri = publish(assignment.params["base"], digest, files, context.tick)
        summary = {
            "boxes": dataset.boxes,
            "splits": dataset.split_sizes,
            "left_out": dict(Counter(one.reason for one in dataset.left_out)),
        }
        return Done(
            artifacts=(artifact,),
            facts={"frames": len(dataset.images), "digest": digest, "uri": uri, **summary},
            records={
                "dataset": {
                    "digest": digest,
                    "images": len(dataset.images),
                    "uri": uri,
                    "summary": summary,
                }
            },
        )


def formats(dataset: Dataset) -> dict[str, bytes]:
    """The files that are content, beside the images. COCO is always there: it names the splits."""
    files = {
        **coco_files(dataset),
        "classes.txt": "".join(f"{' '.join(name.split())}\n" for name in dataset.classes).encode(),
    }
    if "YOLO" in dataset.spec["formats"]:
        files |= yolo_files(dataset)
    if "Parquet" in dataset.spec["formats"]:
        files |= parquet_files(dataset)
    return files


def _why_none(dataset: Dataset) -> str:
    reasons = Counter(one.reason for one in dataset.left_out)
    if not reasons:
        return "no frame was kept"
    return ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
