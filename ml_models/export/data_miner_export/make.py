"""From a checkpoint to a published model: exported, measured, described, and only then told of."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from data_miner_export import parity
from data_miner_export.checkpoint import Checkpoint, Parts
from data_miner_export.failing import step
from data_miner_export.families import ARCHITECTURES, take_apart
from data_miner_export.finished import finish, finished
from data_miner_export.graph import OPSET, GraphSpec, count_flops, write_onnx
from data_miner_export.precision import CALIBRATION, Precision, halved, write_int8
from data_miner_export.publishing import publish_patiently
from data_miner_export.source import Source
from data_miner_export.tokenizing import Words
from data_miner_export.weights import share
from data_miner_models import golden
from data_miner_models.cards import HALF, ModelCard, ModelFile
from data_miner_models.errors import ModelError
from data_miner_models.store import Progress, describe, write_file

Say = Callable[[str], None]
STATE: Final = "2"
"""Raised when what is exported changes, so that work of an older exporter is not gone on with."""
_ALWAYS: Final = 2
_COMPARED_FLOPS: Final = 1e12
"""Operations of one comparison; some ten seconds of a core, and as many again for the original."""
_PROMPTS: Final = (
    "a photo of a cat",
    "A red fire truck, parked!",
    "two dogs",
    "tür, naïve café 漢字 🚒",
    "x",
    "a very long prompt about " + "many different things " * 30,
)


@dataclass(frozen=True)
class Wanted:
    """What to make.

    Attributes:
        name: of the model; with int8 a second one of the name with "-int8" behind it.
        precisions: fp32 always; fp16 beside it for GPUs; int8 as a model of its own.
        uri: the store to publish to.
        work: folder for what is begun.
    """

    name: str
    precisions: frozenset[Precision]
    uri: str
    work: Path


def make(source: Source, wanted: Wanted, say: Say, progress: Progress) -> tuple[ModelCard, ...]:
    """Export, measure and publish; a graph that was finished before a kill is not made again.

    Raises:
        ModelError: whatever went wrong; then nothing was published.
        PassingError: the store gave no answer; another try goes on with what was finished.
    """
    with step(f"{source.title} cannot be exported"):
        return _make(source, wanted, say, progress)


def _make(source: Source, wanted: Wanted, say: Say, progress: Progress) -> tuple[ModelCard, ...]:
    checkpoint = Checkpoint(source.folder)
    say(f"{source.title}: {_title(checkpoint)}, licence {source.licence}")
    parts = take_apart(checkpoint)
    work = wanted.work / _key(source, wanted)
    work.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    measured: dict[str, float] = {}
    if "fp16" in wanted.precisions and not parts.halves:
        say("half precision would change what this architecture finds: single precision only")
    for role, path, figures in _graphs(parts, wanted, work, say):
        files[role] = path
        measured |= {f"{_plain(role)}_{name}": value for name, value in figures.items()}
    singles = {role: path for role, path in files.items() if not role.endswith(HALF)}
    files |= _shared(files, work / "shared", say)
    if parts.tokenizer is not None:
        files["tokenizer"] = singles["tokenizer"] = _write_tokenizer(parts.tokenizer, work)
    card = _card(source, parts, wanted.name, files, measured, work)
    made: list[tuple[ModelCard, Mapping[str, Path]]] = [(card, files)]
    if "int8" in wanted.precisions:
        made.append(_int8(card, parts, singles, work, say))
    proven = [(_with_golden(one, work, say), its) for one, its in made]
    cards = tuple(
        publish_patiently(one, {**its, "golden": one.path("golden")}, wanted.uri, progress, say)
        for one, its in proven
    )
    shutil.rmtree(work)
    return cards


def _graphs(
    parts: Parts, wanted: Wanted, work: Path, say: Say
) -> Iterator[tuple[str, Path, Mapping[str, float]]]:
    for spec in parts.graphs:
        for precision in ("fp32", "fp16"):
            if precision == "fp32" or (precision in wanted.precisions and parts.halves):
                role = spec.role + (HALF if precision == "fp16" else "")
                path = work / role / "graph.onnx"

                def write(temporary: Path, half: bool = precision == "fp16") -> None:
                    write_onnx(halved(spec) if half else spec, temporary)  # noqa: B023

                yield role, path, _finished(spec, precision, path, write, say)


def _finished(
    spec: GraphSpec,
    precision: Precision,
    path: Path,
    write: Callable[[Path], None],
    say: Say,
) -> Mapping[str, float]:
    """Write one graph and measure it, unless that was done; give back its differences."""
    name, record = path.parent.name, path.with_suffix(".json")
    if (done := finished(record)) is not None:
        say(f"{name}: done before")
        return done
    say(f"{name}: exporting in {precision}")
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    with step(f"{name} cannot be exported"):
        write(path)
    with step(f"{name} cannot be compared with what was published"):
        figures = parity.measure(spec, path, batches=_affordable(spec))
    said = ", ".join(f"{kind} {value:.2g}" for kind, value in figures.items())
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    say(f"{name}: {size / 1e6:.1f} MB, differs by {said}")
    parity.check(spec.role, precision, figures)
    finish(record, figures)
    return figures


def _affordable(spec: GraphSpec) -> tuple[int, ...]:
    """The batches to compare: the first two, and larger ones that take seconds and not minutes."""
    once = count_flops(spec)
    return tuple(
        count
        for place, count in enumerate(spec.batches)
        if place < _ALWAYS or once * count <= _COMPARED_FLOPS
    )


def _shared(files: Mapping[str, Path], folder: Path, say: Say) -> Mapping[str, Path]:
    """The graphs anew in `folder`, with their weights in one file, where several have the same or
    one has more than fits into it; else nothing."""
    sized = [role for role in files if role.startswith("image-") and not role.endswith(HALF)]
    beside = any(len(list(path.parent.glob("*.data"))) for path in files.values())
    if len(sized) < 2 and not beside:
        return {}
    say("putting all weights into one file")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    targets = {role: folder / f"{role}.onnx" for role in files}
    weights = folder / "weights.bin"
    with step("the weights cannot be put into one file"):
        share({files[role]: target for role, target in targets.items()}, weights)
    return {**targets, "weights": weights}


def _card(
    source: Source,
    parts: Parts,
    name: str,
    files: Mapping[str, Path],
    measured: Mapping[str, float],
    work: Path,
) -> ModelCard:
    return ModelCard(
        name=name,
        family=parts.family,
        licence=source.licence,
        summary=f"{_SUMMARIES[parts.family]} Exported from {source.title}.",
        folder=work,
        preprocessing=parts.preprocessing,
        files={role: _described(path, work) for role, path in files.items()},
        graphs={spec.role: spec.graph for spec in parts.graphs},
        dimension=parts.dimension,
        scoring=parts.scoring,
        source=source.title,
        revision=source.revision,
        flops={spec.role: count_flops(spec) for spec in parts.graphs},
        parity=measured,
    )


def _int8(
    card: ModelCard, parts: Parts, singles: Mapping[str, Path], work: Path, say: Say
) -> tuple[ModelCard, Mapping[str, Path]]:
    """The image side in 8 bits, as a model of its own: its numbers are others.

    `singles` are the graphs in single precision, before any was put together with others: the
    weights that they share with those are not this model's.
    """
    spec = next((spec for spec in parts.graphs if spec.role == "image"), None)
    if spec is None:
        raise ModelError(f"family {parts.family} has no form in 8 bits")
    # One picture at a time, as it will run: those that run together share a scale.
    alone = replace(spec, batches=(1,))
    path = work / "image-int8" / "graph.onnx"
    figures = _finished(alone, "int8", path, lambda out: write_int8(singles["image"], out), say)
    own_graphs = {role: file for role, file in singles.items() if role != "tokenizer"}
    own_graphs["image"] = path
    own_files = {**singles, **own_graphs, **_shared(own_graphs, work / "shared-int8", say)}
    own = replace(
        card,
        name=f"{card.name}-int8",
        summary=f"{card.summary} Weights in 8 bits, for CPUs.",
        warning="Nobody has measured what 8 bits cost with these weights.",
        files={role: _described(file, work) for role, file in own_files.items()},
        max_batch=1,
        parity={f"image_{name}": value for name, value in figures.items()},
        metrics={"calibration": CALIBRATION},
    )
    return own, own_files


def _with_golden(card: ModelCard, work: Path, say: Say) -> ModelCard:
    """Run the model once as workers will, and keep what it says."""
    say(f"{card.name}: running it as workers do")
    path = work / f"{card.name}-golden.npz"
    golden.write(card, path)
    whole = replace(card, files={**card.files, "golden": _described(path, work)})
    golden.verify_golden(whole)
    return whole


_SUMMARIES: Final = {
    "siglip": "Image and text vectors for prompts.",
    "dino": "Image vectors for near-duplicates.",
    "open-vocabulary": "Boxes for prompts.",
    "grounded": "Boxes for prompts, which are read together with the picture.",
}


def _write_tokenizer(words: Words, work: Path) -> Path:
    """The tokenizer's file, once it has given the ids of the published one."""
    expected = words.published(_PROMPTS)
    for prompt, ids in zip(_PROMPTS, expected, strict=True):
        own = words.tokenizer.encode(prompt).ids
        if own != ids:
            raise ModelError(
                f"the tokenizer gives other ids than the published one for {prompt[:40]!r}: "
                f"{own[:8]} instead of {ids[:8]}"
            )
    path = work / "tokenizer.json"
    write_file(path, words.tokenizer.to_str().encode())
    return path


def _described(path: Path, work: Path) -> ModelFile:
    digest, size = describe(path)
    return ModelFile(str(path.relative_to(work)), digest, size)


def _key(source: Source, wanted: Wanted) -> str:
    """Names the work on this state of this checkpoint; weights are told apart by size and time."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    state = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(source.folder.iterdir())
        if path.is_file()
    ]
    basis = [STATE, OPSET, source.title, source.revision, state, wanted.name]
    basis += [torch.__version__, transformers.__version__]
    return hashlib.sha256(json.dumps(basis).encode()).hexdigest()[:16]


def _title(checkpoint: Checkpoint) -> str:
    kind = checkpoint.model_type
    return ARCHITECTURES[kind].title if kind in ARCHITECTURES else repr(kind)


def _plain(role: str) -> str:
    return role.replace("-", "_")
