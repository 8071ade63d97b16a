"""Export every family at its published size: sizes, times, differences, and speed on this machine.

Weights are random, since none are shipped: what is computed and how long it takes is that of the
published ones. Names of models, or parts of them, choose; without any, all of them are measured.
A model takes minutes and memory of some five times its size. With --keep it stays in
out/real-models, and the next run with --keep measures its speed alone. Rows come together in
out/real-sizes.jsonl, the newest of a model counts, and a table of them ends the run.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch

from data_miner_export.make import Wanted, make
from data_miner_export.source import Source
from data_miner_models import bench
from data_miner_models.cards import ModelCard, load_card
from support.checkpoints import BUILDERS

MODELS: Final = {
    "siglip-base-patch16-224": ("siglip", "base-patch16-224"),
    "siglip2-base-patch16-256": ("siglip2", "base-patch16-256"),
    "siglip-base-patch16-384": ("siglip", "base-patch16-384"),
    "siglip2-so400m-patch14-384": ("siglip2", "so400m-patch14-384"),
    "dinov2-small": ("dinov2", "small"),
    "dinov2-base": ("dinov2", "base"),
    "dinov2-large": ("dinov2", "large"),
    "dinov3-vits16": ("dinov3", "vits16"),
    "owlv2-base-patch16": ("owlv2", "base-patch16"),
    "owlv2-large-patch14": ("owlv2", "large-patch14"),
    "grounding-dino-tiny": ("grounding_dino", "tiny"),
    "grounding-dino-base": ("grounding_dino", "base"),
    "llmdet-tiny": ("mm_grounding_dino", "tiny"),
}
ENCODERS: Final = ("siglip", "siglip2", "dinov2", "dinov3")
BATCH: Final = 8
ROUNDS: Final = 3
KEPT: Final = Path("out/real-models")
ROW: Final = "row.json"
LARGE_FLOPS: Final = 3e11
"""A picture that takes more is measured alone."""


def measured(name: str, keep: bool) -> dict[str, Any]:
    """What one model comes to; to be called in a process of its own."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    kept = KEPT / name
    if keep and (kept / ROW).is_file():
        return _timed(json.loads((kept / ROW).read_text(encoding="utf-8")), kept)
    folder = Path(tempfile.mkdtemp(prefix="data-miner-real-"))
    try:
        row = _made(name, folder)
        if keep:
            KEPT.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            shutil.move(folder / "store", kept)
            (kept / ROW).write_text(json.dumps(row), encoding="utf-8")
        return _timed(row, kept if keep else folder / "store")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made(name: str, folder: Path) -> dict[str, Any]:
    """Export the model to ``folder/store``; what that took, and how near it comes."""
    kind, size = MODELS[name]
    (folder / "checkpoint").mkdir()
    BUILDERS[kind](folder / "checkpoint", size)
    # Detectors of random weights are further from themselves in 8 bits than is published.
    precisions = {"fp32", "fp16"} | ({"int8"} if kind in ENCODERS else set())
    wanted = Wanted(name, frozenset(precisions), str(folder / "store"), folder / "work")
    source = Source(folder / "checkpoint", name, "", "apache-2.0")
    began = time.monotonic()
    cards = make(source, wanted, lambda line: print(f"  {line}", flush=True), lambda *_: None)
    seconds = time.monotonic() - began
    shutil.rmtree(folder / "checkpoint")
    row: dict[str, Any] = {
        "name": name,
        "export_seconds": seconds,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    return row | {
        _precision(card): _facts(load_card(card.name, [folder / "store"])) for card in cards
    }


def _timed(row: dict[str, Any], store: Path) -> dict[str, Any]:
    """The row with speeds."""
    precisions = [precision for precision in ("fp32", "int8") if precision in row]
    cards = [
        load_card(row["name"] + ("-int8" if precision == "int8" else ""), [store])
        for precision in precisions
    ]
    # By turns, so that what else this machine does slows both alike.
    rounds = [{_precision(card): _speed(card) for card in cards} for _ in range(ROUNDS)]
    for precision in precisions:
        for figure in ("per_second", "share"):
            row[precision][figure] = median(each[precision][figure] for each in rounds)
    if "int8" in row:
        row["int8"]["faster"] = median(
            each["int8"]["per_second"] / each["fp32"]["per_second"] for each in rounds
        )
    return row


def _precision(card: ModelCard) -> str:
    return "int8" if card.name.endswith("-int8") else "fp32"


def _plain(card: ModelCard) -> str:
    return next(role for role in card.graphs if role.startswith("image"))


def _facts(card: ModelCard) -> dict[str, Any]:
    return {
        "bytes": {role: file.bytes for role, file in card.files.items()},
        "parity": dict(card.parity),
        "flops": card.flops[_plain(card)],
    }


def _speed(card: ModelCard) -> dict[str, float | None]:
    """Of one core, and as a share of what it does in a plain product of matrices meanwhile."""
    _, speeds = bench.measure(card, provider="cpu", batch=_batch(card.flops[_plain(card)]))
    (speed,) = (one for one in speeds if one.role == _plain(card))
    return {"per_second": speed.per_second, "share": speed.share}


def _batch(flops: float) -> int:
    return BATCH if flops <= LARGE_FLOPS else 1


def main(wanted: list[str], *, keep: bool = False) -> None:
    """A line for each model as it is measured; all rows as JSON lines at the end."""
    names = [name for name in MODELS if not wanted or any(part in name for part in wanted)]
    out = Path("out/real-sizes.jsonl")
    out.parent.mkdir(exist_ok=True)
    for name in names:
        print(name, flush=True)
        # Memory goes back with the process.
        with get_context("spawn").Pool(1) as pool:
            row = pool.apply(measured, (name, keep))
        single, eight = row["fp32"], row.get("int8")
        faster = ""
        if eight:
            faster = f", int8 {eight['faster']:.2f} times as fast"
        print(
            f"  {row['export_seconds']:.0f} s, {row['peak_gb']:.1f} GB; "
            f"{single['per_second']:.2f} pictures/s, {single['share']:.2f} of peak{faster}",
            flush=True,
        )
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    print(table({row["name"]: row for row in rows}))


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown, in the order of MODELS."""
    lines = [
        (
            "| model | picture side, MB: single, half, 8 bits | GFLOP a picture | export, s "
            "| single | half | 8 bits | pictures/s of a core | of peak | 8 bits, times as fast |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in (rows[name] for name in MODELS if name in rows):
        single, eight = row["fp32"], row.get("int8")
        cells = [
            row["name"],
            ", ".join(_size(row, bits) for bits in ("", "-fp16", "int8")),
            f"{single['flops'] / 1e9:.0f}",
            f"{row['export_seconds']:.0f}",
            _gap(single["parity"], half=False),
            _gap(single["parity"], half=True),
            _gap(eight["parity"], half=False) if eight else "-",
            f"{single['per_second']:.2f}",
            f"{single['share']:.2f}",
            f"{eight['faster']:.2f}" if eight else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _size(row: Mapping[str, Any], bits: str) -> str:
    if bits == "int8":
        return f"{row['int8']['bytes']['image'] / 1e6:.0f}" if "int8" in row else "-"
    sizes = row["fp32"]["bytes"]
    roles = [
        role
        for role in sizes
        if role.startswith("image") and role.endswith("-fp16") == (bits == "-fp16")
    ]
    # Graphs of several sizes share their weights.
    total = sum(sizes[role] for role in roles) + (
        sizes.get("weights", 0) if roles and not bits else 0
    )
    return f"{total / 1e6:.0f}" if roles else "-"


def _gap(parity: Mapping[str, float], *, half: bool) -> str:
    """The largest of each kind over the graphs."""
    worst: dict[str, float] = {}
    for name, value in parity.items():
        if ("fp16" in name) == half:
            kind = name.rpartition("_")[2]
            worst[kind] = max(worst.get(kind, 0.0), value)
    units = {"cosine": "1 - cos {:.1e}", "pixels": "{:.1e} px", "score": "score {:.1e}"}
    return (
        ", ".join(form.format(worst[kind]) for kind, form in units.items() if kind in worst) or "-"
    )


if __name__ == "__main__":
    main([one for one in sys.argv[1:] if one != "--keep"], keep="--keep" in sys.argv)
