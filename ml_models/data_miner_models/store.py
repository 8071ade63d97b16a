"""Models at a URI: published whole or not at all, and pulled so that a kill leaves nothing half.

A store holds `<name>.toml` for each model and its files below `<name>/`. A card comes last when a
model is published or pulled, so a model whose card is there is there. Files lie in a folder named
after their content: another state of a model never overwrites files of the one before.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import fsspec

from data_miner_models.card_text import card_text
from data_miner_models.cards import ModelCard, ModelFile, check_name, parse_card
from data_miner_models.errors import ModelError, StoreError, UnknownModelError

Progress = Callable[[str, int, int], None]
"""Called with a file's path, the bytes that are there and all of them."""

_CHUNK_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 8 << 20
"""So much is asked of a remote store at once; more would be long in coming over a slow line."""


def publish(card: ModelCard, files: Mapping[str, Path], uri: str, progress: Progress) -> ModelCard:
    """Put a model into the store at `uri`, files first, and give back its card there.

    Args:
        card: its `files` name hashes and sizes; their paths are chosen here.
        files: where they lie now, by role.

    Raises:
        ModelError: the store cannot be written, or the card could not be read again.
    """
    state = hashlib.sha256(
        "".join(f"{role} {card.files[role].sha256}\n" for role in sorted(files)).encode()
    ).hexdigest()[:12]
    # Graphs name the file of weights beside them, so that one keeps its name.
    paths = {role: f"{card.name}/{state}/{role}{path.suffix}" for role, path in files.items()}
    placed = replace(
        card,
        files={role: replace(file, path=paths[role]) for role, file in card.files.items()},
    )
    text = card_text(placed)
    # What others cannot read must not be told of.
    parse_card(text, Path(f"{card.name}.toml"))
    with _said(f"publish {card.name} to {shown(uri)}"):
        system, root = _at(uri)
        for role, path in files.items():
            _put(system, path, f"{root}/{paths[role]}", placed.files[role], progress)
        _put_text(system, text, f"{root}/{card.name}.toml")
    return placed


def pull(name: str, uri: str, into: Path, progress: Progress = lambda *_: None) -> ModelCard:
    """Bring a model and its card from the store at `uri` into the folder `into`.

    What is there is not brought again; what was begun goes on where it stopped. Of several
    processes one brings it and the others wait.

    Raises:
        ModelError: the store has no such model, cannot be reached, or holds other bytes than its
            card says.
    """
    check_name(name)
    with _said(f"pull {name} from {shown(uri)}"):
        into.mkdir(parents=True, exist_ok=True)
        with _alone(into / f".{name}.lock"):
            text = _card(*_at(uri), name, uri)
            return bring(name, text, uri, into, progress)


def card_at(name: str, uri: str) -> tuple[ModelCard, str]:
    """The card of a model in the store at `uri`, and its text; nothing else is read.

    The card's folder means nothing, for its files are not here.

    Raises:
        UnknownModelError: the store has no such model; it says which it has.
        StoreError: the store cannot be asked.
        ModelError: the card is wrong.
    """
    check_name(name)
    with _said(f"read the card of {name} in {shown(uri)}"):
        text = _card(*_at(uri), name, uri)
    try:
        return parse_card(text, Path(f"{name}.toml")), text
    except ModelError as error:
        raise ModelError(f"{shown(uri)}: {error}") from None


def check_there(card: ModelCard, uri: str) -> None:
    """Raise ModelError unless the store at `uri` has every file of a model, with its size."""
    for role in sorted(card.files):
        file = card.files[role]
        with _said(f"look at {file.path} in {shown(uri)}"):
            system, root = _at(uri)
            try:
                size = system.info(f"{root}/{file.path}")["size"]
            except FileNotFoundError:
                raise ModelError(
                    f"model {card.name}: {shown(uri)} has its card, and no file {file.path}"
                ) from None
        if size != file.bytes:
            raise ModelError(
                f"model {card.name}: {file.path} in {shown(uri)} has {size} bytes, its card says "
                f"{file.bytes}"
            )


def bring(name: str, text: str, uri: str, into: Path, progress: Progress) -> ModelCard:
    """Bring the files that a card names into the folder `into`, and then the card itself.

    Only one process at a time may do so with one model and folder. Raises ModelError as `pull`
    does.
    """
    card = parse_card(text, into / f"{name}.toml")
    _check_free(card, into)
    parts = into / f".{name}.pulling"
    with _said(f"pull {name} from {shown(uri)}"):
        parts.mkdir(exist_ok=True)
        wanted = {file.sha256 for file in card.files.values()}
        for part in parts.iterdir():
            if part.name not in wanted:  # begun when the store had another state
                part.unlink()
        system, root = _at(uri)
        for file in card.files.values():
            _bring(system, f"{root}/{file.path}", into, parts, file, progress)
        write_file(into / f"{name}.toml", text.encode())
        shutil.rmtree(parts)
    return card


def _check_free(card: ModelCard, into: Path) -> None:
    """Raise ModelError where bringing a model would replace a card, or another model's file."""
    paths = {file.path: file.sha256 for file in card.files.values()}
    for path in paths:
        if path.endswith(".toml"):
            raise ModelError(f"model {card.name}: its file {path} would lie where cards do")
    for other in into.glob("*.toml"):
        try:
            files = parse_card(other.read_text(encoding="utf-8"), other).files.values()
        except (ModelError, OSError, ValueError):
            continue  # of a wrong card nobody uses files
        for file in files:
            if other.stem != card.name and paths.get(file.path, file.sha256) != file.sha256:
                raise ModelError(
                    f"model {card.name}: its file {file.path} would replace another one of model "
                    f"{other.stem} in {into}"
                )


def published(uri: str) -> tuple[str, ...]:
    """Names of the models in the store at `uri`. Raises ModelError where it cannot be read."""
    with _said(f"list {shown(uri)}"):
        system, root = _at(uri)
        return tuple(
            sorted(
                Path(str(path)).stem
                for path in system.ls(root, detail=False)
                if str(path).endswith(".toml")
            )
        )


def describe(path: Path, alive: Callable[[int], None] = lambda _: None) -> tuple[str, int]:
    """SHA-256 (hex) and bytes of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            alive(size)
    return digest.hexdigest(), size


def _bring(
    system: Any, source: str, into: Path, parts: Path, file: ModelFile, progress: Progress
) -> None:
    target = into / file.path
    if target.exists() and describe(target) == (file.sha256, file.bytes):
        progress(file.path, file.bytes, file.bytes)
        return
    part = parts / file.sha256
    try:
        found, size = _go_on(_open(system, source), part, file, progress)
    except ValueError:
        if "http" not in system.protocol:
            raise
        # A web server that sends no pieces: all of it in one go, from the beginning.
        part.unlink(missing_ok=True)
        found, size = _go_on(_stream(system, source, file), part, file, progress)
    if (found, size) != (file.sha256, file.bytes):
        part.unlink()
        there = "more bytes" if size > file.bytes else f"{size} bytes with sha256 {found}"
        raise ModelError(f"{shown(source)}: {there}, its card says {file.bytes} with {file.sha256}")
    _make_folders(target.parent)
    part.replace(target)
    sync_folder(target.parent)


def _go_on(source: Any, part: Path, file: ModelFile, progress: Progress) -> tuple[str, int]:
    """Bring what is missing of a file; SHA-256 (hex) and bytes of what is there then.

    Of a file that is longer than its card says, not much more is read.
    """
    digest = hashlib.sha256()
    with source as reader, part.open("a+b") as writer:
        writer.seek(0)
        while chunk := writer.read(_CHUNK_BYTES):
            digest.update(chunk)
        if writer.tell() > file.bytes:
            writer.seek(0)
            writer.truncate()
            digest = hashlib.sha256()
        reader.seek(writer.tell())
        while writer.tell() <= file.bytes and (chunk := reader.read(_CHUNK_BYTES)):
            writer.write(chunk)
            digest.update(chunk)
            progress(file.path, writer.tell(), file.bytes)
        writer.flush()
        os.fsync(writer.fileno())
        return digest.hexdigest(), writer.tell()


def _open(system: Any, source: str) -> Any:
    return system.open(source, "rb", block_size=_BLOCK_BYTES)


def _stream(system: Any, source: str, file: ModelFile) -> Any:
    import aiohttp  # noqa: PLC0415  # the web's client has it, others need it not

    # By itself it gives the whole of an answer five minutes.
    patience = aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=60)
    return system.open(source, "rb", block_size=0, size=file.bytes, timeout=patience)


def _put(system: Any, path: Path, target: str, file: ModelFile, progress: Progress) -> None:
    if _is_there(system, target, file):
        progress(file.path, file.bytes, file.bytes)
        return
    system.makedirs(target.rpartition("/")[0], exist_ok=True)
    if _has_folders(system):
        _put_whole(path, Path(target), file)
    else:
        system.put_file(str(path), target)
    progress(file.path, file.bytes, file.bytes)


def _is_there(system: Any, target: str, file: ModelFile) -> bool:
    """By its bytes where these are near, so that who publishes again mends it; else by its size."""
    if not system.exists(target) or system.info(target)["size"] != file.bytes:
        return False
    return not _has_folders(system) or describe(Path(target))[0] == file.sha256


def _put_whole(path: Path, target: Path, file: ModelFile) -> None:
    """Copy under another name first, or else a file may be seen half written.

    It has the same name each time: who publishes again writes over what a killed one has left.
    """
    temporary = target.with_name(f".{target.name}.{file.sha256[:16]}")
    with _alone(temporary):
        if target.exists() and describe(target)[0] == file.sha256:
            # Another process was waited for, and this name made anew.
            temporary.unlink(missing_ok=True)
            return
        shutil.copyfile(path, temporary)
        _sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)


def _put_text(system: Any, text: str, target: str) -> None:
    if _has_folders(system):
        write_file(Path(target), text.encode())
    else:
        system.pipe_file(target, text.encode())


def _card(system: Any, root: str, name: str, uri: str) -> str:
    try:
        content = system.cat_file(f"{root}/{name}.toml")
    except FileNotFoundError:
        if _has_folders(system) and not Path(root).is_dir():
            gone = f"nothing is at {root}: is it mounted?"
            raise StoreError(f"cannot look for {name}: {gone}") from ConnectionError(gone)
        try:
            known = f"it has {', '.join(published(uri)) or 'nothing'}"
        except StoreError:  # a prefix without objects, a server without lists
            known = "its models cannot be listed"
        raise UnknownModelError(f"{shown(uri)} has no model {name!r}; {known}") from None
    try:
        return str(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ModelError(f"{shown(uri)}: model card {name}.toml: {error}") from None


def _at(uri: str) -> tuple[Any, str]:
    system, root = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    return system, root.rstrip("/")


def shown(text: str) -> str:
    """A URI, or words with some, as they may be told to people: without what gives access."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


_SECRETS: Final = (
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s]+@"), r"\1:***@"),
    (re.compile(r"(?i)(https?://)[^/\s:@?#]+@"), r"\1***@"),  # a token in its user's place
    (
        re.compile(r"(?i)([?&][\w.-]*(?:sig|key|token|secret|pass|cred)[\w.-]*=)[^\s&\"'#<>]+"),
        r"\1***",
    ),
)


def _has_folders(system: Any) -> bool:
    return bool("file" in system.protocol or "local" in system.protocol)


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """Whatever a store raises becomes one line."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        # Each kind of store raises classes of its own.
        words = " ".join(str(error).split()) or type(error).__name__
        raise StoreError(f"cannot {what}: {shown(words)[:300]}") from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds this lock; it goes with the process."""
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_file(path: Path, content: bytes) -> None:
    """Make a file that is there whole or not at all, also after a power cut."""
    _make_folders(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    temporary.write_bytes(content)
    _sync_file(temporary)
    temporary.replace(path)
    sync_folder(path.parent)


def _make_folders(path: Path) -> None:
    if not path.is_dir():
        _make_folders(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's names are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
