"""Where a checkpoint comes from: a folder, or a hub, by name."""

from __future__ import annotations

import contextlib
import logging
import re
import time
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from data_miner_export.failing import hub_token, may_pass, said
from data_miner_models.errors import ModelError, PassingError

PERMISSIVE: Final = frozenset(
    {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "bsd", "isc", "cc0-1.0", "unlicense"}
)
"""Licences that ask for nothing but their own text; any other one must be accepted by name."""
_WANTED: Final = ("*.json", "*.safetensors", "*.model", "*.txt", "README.md", "LICENSE*")
_TERMS: Final = ("README.md", "LICENSE*")
_ABANDONED_S: Final = 900.0
"""A download that has written nothing for so long goes on no more: its process was killed."""
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class Source:
    """A checkpoint that lies in a folder of this machine.

    Attributes:
        folder: where.
        title: the id on the hub, or the folder's name.
        revision: the commit; empty for a folder, whose state nobody has named.
        licence: as the checkpoint's README says, in lower case; "unknown" where it does not.
    """

    folder: Path
    title: str
    revision: str
    licence: str


def known() -> Mapping[str, str]:
    """Names that projects use, and the ids behind them."""
    text = files("data_miner_export").joinpath("known.toml").read_text(encoding="utf-8")
    return {name: entry["id"] for name, entry in tomllib.loads(text).items()}


def find(
    wanted: str, *, revision: str | None, cache: Path, accepted: Collection[str] = ()
) -> Source:
    """A checkpoint by name, id or folder; whole files of an earlier run are not downloaded again.

    Of a checkpoint whose licence is not accepted, only that is downloaded.

    Args:
        wanted: a name of `known`, an id such as ``google/siglip2-base-patch16-256``, or a folder.
        revision: branch, tag or commit on the hub; absent is its main branch.
        cache: folder for what is downloaded.
        accepted: licences that the user has agreed to.

    Raises:
        ModelError: it is nowhere, must not be read without a token, or its licence is not accepted.
        PassingError: the hub does not answer, or not now.
    """
    if _is_folder(wanted):
        source = _folder(Path(wanted))
        _agree(source, accepted)
        return source
    identity = _identity(wanted)
    _sweep(cache)
    terms = _download(identity, revision, cache, _TERMS)
    _agree(terms, accepted)
    return _download(identity, terms.revision, cache, _WANTED)


def _is_folder(wanted: str) -> bool:
    return Path(wanted).is_dir() or wanted.startswith(("/", "./", "../", "~"))


def _folder(path: Path) -> Source:
    folder = path.expanduser().absolute()
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; a checkpoint in the hub's layout is needed")
    return Source(folder, folder.name, "", _licence(folder))


def _identity(wanted: str) -> str:
    """The id on the hub."""
    identity = known().get(wanted, wanted)
    if not _ID.fullmatch(identity):
        names = ", ".join(known())
        raise ModelError(
            f"{wanted!r} is no folder, no id such as google/siglip2-base-patch16-256, and no name "
            f"of {names}"
        )
    return identity


def _download(identity: str, revision: str | None, cache: Path, patterns: Sequence[str]) -> Source:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  # only where it is needed
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with _silence():
            folder = Path(
                snapshot_download(
                    identity,
                    revision=revision,
                    cache_dir=cache,
                    allow_patterns=list(patterns),
                    ignore_patterns=["onnx/*", "*.msgpack", "*.h5"],
                    token=hub_token(),
                    max_workers=4,
                )
            )
    except GatedRepoError:
        raise ModelError(
            f"{identity} is gated: agree to its terms on the hub, then set HF_TOKEN to a token of "
            "that account"
        ) from None
    except RevisionNotFoundError:
        raise ModelError(f"{identity} has no revision {revision!r}") from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"the hub has no {identity}, or HF_TOKEN does not let this account see it"
        ) from None
    except Exception as error:
        # Connections break in the ways of several libraries.
        kind = PassingError if may_pass(error) else ModelError
        raise kind(f"{identity} cannot be downloaded: {said(error)}") from error
    return Source(folder, identity, folder.name, _licence(folder))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The hub's library logs the addresses that it asks again, and signed ones are secrets."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _sweep(cache: Path) -> None:
    """Remove what killed downloads have left: each one writes to a name of its own, and none goes
    on with another's."""
    for part in cache.glob("models--*/blobs/*.incomplete"):
        # It may be finished or removed meanwhile; and what stays is no reason to stop.
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _ABANDONED_S:
                part.unlink()


def _licence(folder: Path) -> str:
    """From the front matter of README.md."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    fields = dict(
        re.findall(r"^(license|license_name):[ \t]*['\"]?([^'\"\n]+)", head[1], re.M)
        if head
        else ()
    )
    name = fields.get("license_name") or fields.get("license") or "unknown"
    return name.strip().lower()


def _agree(source: Source, accepted: Collection[str]) -> None:
    if source.licence in PERMISSIVE or source.licence in {each.lower() for each in accepted}:
        return
    text = next((path for path in sorted(source.folder.glob("LICENSE*"))), None)
    where = f"; its text: {text}" if text else ""
    raise ModelError(
        f"{source.title} is under the licence {source.licence!r}, which is not one that this "
        f"program takes for granted{where}; with --accept-licence {source.licence} you agree to it"
    )
