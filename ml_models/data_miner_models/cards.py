"""Model cards: what a model is, which files it consists of, and how to prove that they are right.

A store is a folder of `<name>.toml` cards; the paths in a card are relative to its folder. The
bundled store is searched last, so a card in a store of one's own may replace a bundled one.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from data_miner_models.errors import DamagedError, ModelError, PassingError, UnknownModelError
from data_miner_models.preprocessing import Preprocessing

BUNDLED = Path(__file__).parent / "bundled"
Family = Literal["siglip", "dino", "open-vocabulary", "grounded"]
NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,99}$"
PATH: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"
HALF: Final = "-fp16"
"""Behind the role of a graph: the same one in half precision, which a GPU runs instead."""
_BESIDES: Final = frozenset({"weights", "golden"})
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: its path below the card's folder, its bytes and their hash."""

    __pydantic_config__ = _STRICT

    path: Annotated[str, Field(pattern=PATH)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1, lt=1 << 63)]


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph. A number in the shape is fixed, a name is free."""

    __pydantic_config__ = _STRICT

    name: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """What an ONNX file takes and gives, by role: roles are ours, tensor names the file's."""

    __pydantic_config__ = _STRICT

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Scoring:
    """probability = sigmoid(cosine * scale + bias); scale is the factor itself, no logarithm."""

    __pydantic_config__ = _STRICT

    scale: Annotated[float, Field(gt=0)]
    bias: float


@dataclass(frozen=True)
class ModelCard:
    """A model as data.

    Attributes:
        name: the card's file name without its suffix.
        family: which contract the model keeps. siglip: vectors of images and texts that can be
            compared, with `scoring`. dino: vectors of images. open-vocabulary: boxes with vectors
            that are compared with those of texts. grounded: boxes for all texts at once.
        licence: SPDX expression of the weights.
        summary: one sentence for a list of models.
        warning: what a user must know before trusting the model; absent means nothing special.
        folder: where the card lies.
        preprocessing: how a frame becomes the image graph's input.
        files: by role: "image" and, where the family needs them, "text" and "tokenizer"; of a
            grounded model one "image-HxW" for each size. "weights" are what several graphs share,
            "golden" is what `data-miner models verify` holds the model against, and "<role>-fp16"
            is a graph in half precision.
        graphs: by the role of their file; one in half precision takes and gives the same.
        dimension: length of the vectors that the model compares.
        scoring: from cosine to probability; absent for dino and grounded, and where an
            open-vocabulary graph gives `shift` and `scale` for each box.
        max_batch: most that may run at once without one input touching another's numbers; absent
            means any number.
        training: what data the model saw.
        metrics: held-out figures, for people.
        source: where the weights came from: a name on a hub, or words.
        revision: which of its states; absent where nobody knows.
        flops: operations that one input of a graph takes, by role, a multiplication with its
            addition being two; for `data-miner models bench`.
        parity: how far the graphs are from the published model, as measured at the export.
    """

    __pydantic_config__ = _STRICT

    name: Annotated[str, Field(pattern=NAME)]
    family: Family
    licence: str
    summary: str
    folder: Path
    preprocessing: Preprocessing
    files: Mapping[str, ModelFile]
    graphs: Mapping[str, Graph]
    dimension: Annotated[int, Field(ge=1)]
    scoring: Scoring | None = None
    warning: str | None = None
    max_batch: Annotated[int, Field(ge=1)] | None = None
    training: str = ""
    source: str = ""
    revision: str = ""
    metrics: Mapping[str, object] = field(default_factory=dict)
    flops: Mapping[str, float] = field(default_factory=dict)
    parity: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over everything that decides the model's numbers, and nothing else."""
        deciding = {
            "family": self.family,
            "files": {role: file.sha256 for role, file in self.files.items() if role != "golden"},
            "preprocessing": self.preprocessing.key,
            "graphs": {
                role: {
                    "inputs": {key: tensor.name for key, tensor in graph.inputs.items()},
                    "outputs": {key: tensor.name for key, tensor in graph.outputs.items()},
                }
                for role, graph in self.graphs.items()
            },
            "dimension": self.dimension,
            "scoring": [self.scoring.scale, self.scoring.bias] if self.scoring else None,
        }
        if self.max_batch is not None:
            deciding["max_batch"] = self.max_batch
        canonical = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def path(self, role: str) -> Path:
        """Where the file with this role lies. Raises ModelError where the model has none."""
        if role not in self.files:
            raise ModelError(f"model {self.name}: family {self.family} has no {role} file")
        return self.folder / self.files[role].path

    @model_validator(mode="after")
    def _has_what_its_family_needs(self) -> Self:
        graphs = {role for role in self.files if role not in _BESIDES | {"tokenizer"}}
        graphs = {role for role in graphs if role.removesuffix(HALF) == role}
        if set(self.graphs) != graphs:
            raise ValueError("graphs must describe exactly the ONNX files")
        if self.family == "grounded":
            if not graphs or not all(_SIZED.fullmatch(role) for role in graphs):
                raise ValueError("family grounded has files image-HxW, one for each size")
        elif graphs != ({"image"} if self.family == "dino" else {"image", "text"}):
            needs = "image" if self.family == "dino" else "image, text, tokenizer"
            raise ValueError(f"family {self.family} has the files {needs}")
        if ("tokenizer" in self.files) != (self.family != "dino"):
            verb = "has no" if self.family == "dino" else "needs a"
            raise ValueError(f"family {self.family} {verb} tokenizer")
        halves = {role.removesuffix(HALF) for role in self.files if role.endswith(HALF)}
        if not halves <= graphs:
            raise ValueError(f"{min(halves - graphs)}{HALF} has no counterpart without {HALF}")
        if (self.scoring is not None) != self._scores_by_card():
            raise ValueError(
                "scoring belongs to siglip, and to open-vocabulary without shift and scale"
            )
        for role, graph in self.graphs.items():
            self._check_graph(role, graph)
        return self

    def _check_graph(self, role: str, graph: Graph) -> None:
        """What loads and runs a model takes its tensors by these roles."""
        inputs, outputs, vectors = _tensors(self.family, role, self.scoring is not None)
        if set(graph.inputs) != set(inputs):
            raise ValueError(f"graph {role} of family {self.family} has the inputs {_list(inputs)}")
        if not outputs <= set(graph.outputs):
            raise ValueError(
                f"graph {role} of family {self.family} has the outputs {_list(outputs)}"
            )
        for name, axes in inputs.items():
            if len(graph.inputs[name].shape) != axes:
                raise ValueError(f"{name} of graph {role} has {axes} axes")
        if "frames" in inputs and not all(
            isinstance(size, int) for size in graph.inputs["frames"].shape[1:]
        ):
            raise ValueError(f"frames of graph {role} have a fixed height and width")
        if vectors in outputs:
            *_, length = graph.outputs[vectors].shape or ("none",)
            if isinstance(length, int) and length != self.dimension:
                raise ValueError(
                    f"{vectors} of graph {role} have length {length}, dimension is {self.dimension}"
                )

    def _scores_by_card(self) -> bool:
        if self.family == "open-vocabulary":
            return not {"shift", "scale"} <= set(self.graphs["image"].outputs)
        return self.family == "siglip"


def _tensors(
    family: Family, role: str, scored: bool
) -> tuple[Mapping[str, int], frozenset[str], str]:
    """Roles of a graph's inputs with how many axes they have, those of its outputs, and which of
    these are vectors that are compared."""
    if family == "grounded":
        words = dict.fromkeys(("sizes", "ids", "phrases", "positions"), 2)
        return {"frames": 4, **words}, frozenset({"boxes", "logits"}), ""
    if role == "text":
        return {"ids": 2}, frozenset({"embeds"}), "embeds"
    if family == "open-vocabulary":
        more = {"objectness"} if scored else {"shift", "scale"}
        return {"frames": 4}, frozenset({"boxes", "class_embeds", *more}), "class_embeds"
    return {"frames": 4}, frozenset({"embeds"}), "embeds"


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


_SIZED: Final = re.compile(r"image-[1-9][0-9]*x[1-9][0-9]*")
_READER = TypeAdapter(ModelCard)


def load_card(name: str, stores: Sequence[Path] = ()) -> ModelCard:
    """The card called `name` from the first store that has it, the bundled ones last.

    Raises UnknownModelError, which tells the known ones, and ModelError for a card that is wrong.
    """
    cards = _find(stores)
    if name not in cards:
        known = ", ".join(sorted(cards))
        raise UnknownModelError(f"model {name!r} is not known; known here: {known}")
    return _read(cards[name])


def card_names(stores: Sequence[Path] = ()) -> tuple[str, ...]:
    """Names of all cards that `load_card` would find, right or wrong."""
    return tuple(sorted(_find(stores)))


def list_cards(stores: Sequence[Path] = ()) -> tuple[ModelCard, ...]:
    """Every card that `load_card` would find, by name. Raises ModelError for a wrong one."""
    return tuple(load_card(name, stores) for name in card_names(stores))


def verify(card: ModelCard, roles: Collection[str] | None = None, *, again: bool = False) -> None:
    """Check size and sha256 of every file, or of those with these roles.

    Args:
        again: read files that this process has read before, too; else only those that are others
            by their times since.

    Raises:
        DamagedError: naming the first that is wrong.
        PassingError: a file cannot be read.
    """
    for role in sorted(card.files if roles is None else roles):
        _verify_file(card, role, again)


def _find(stores: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for store in (*stores, BUNDLED):
        for path in sorted(store.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def check_name(name: str) -> None:
    """Raise ModelError unless a card may have this name, which is that of files as well."""
    if not re.fullmatch(NAME, name):
        raise ModelError(
            f"{name!r} is no name for a model: up to 100 lower-case letters, digits, dots, hyphens "
            "and underscores, with a letter or digit first"
        )


def parse_card(text: str, path: Path) -> ModelCard:
    """The card with this text, which lies (or will lie) at `path`.

    Raises ModelError, with the place that is wrong.
    """
    try:
        card = _READER.validate_python({**tomllib.loads(text), "folder": path.parent})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "card"
        raise ModelError(f"model card {path}: {where}: {first['msg']}") from error
    except ValueError as error:
        raise ModelError(f"model card {path}: {error}") from error
    except RecursionError as error:
        raise ModelError(f"model card {path}: brackets in too many brackets") from error
    if card.name != path.stem:
        raise ModelError(f"model card {path}: name is {card.name!r}, but the file is {path.name}")
    return card


def _read(path: Path) -> ModelCard:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PassingError(f"model card {path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"model card {path}: {error}") from error
    return parse_card(text, path)


def _verify_file(card: ModelCard, role: str, again: bool) -> None:
    file, path = card.files[role], card.path(role)
    try:
        status = path.stat()
        if status.st_size != file.bytes:
            raise DamagedError(
                f"model {card.name}: {path} has {status.st_size} bytes, its card says {file.bytes}",
                card.folder,
                path,
            )
        state = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        if _VERIFIED.get(file.sha256) == state and not again:
            return
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        message = f"model {card.name}: {path}: {error.strerror}"
        raise DamagedError(message, card.folder, path) from error
    except OSError as error:
        raise PassingError(f"model {card.name}: {path}: {error.strerror}") from error
    if found != file.sha256:
        raise DamagedError(
            f"model {card.name}: {path} has sha256 {found}, its card says {file.sha256}",
            card.folder,
            path,
        )
    _VERIFIED[file.sha256] = state


_VERIFIED: Final[dict[str, tuple[int, ...]]] = {}
"""The state of files that had the hash: gigabytes are not read again for each graph of a model."""
