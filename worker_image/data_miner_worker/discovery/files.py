"""Video files in a folder of this machine or in a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from data_miner.stage import StageError
from data_miner_worker import media
from data_miner_worker.discovery.candidates import Candidate, Tick
from data_miner_worker.discovery.names import EDGE_BYTES, file_id, url_id
from data_miner_worker.discovery.patterns import deepest, is_meant
from data_miner_worker.download.copying import local_path, remote_failures


def find(uri: str, glob: str, *, probe: bool, tick: Tick) -> Iterator[Candidate]:
    """The files that a source means, by their path; none is fetched.

    Args:
        uri: a folder or one file: path, file://, s3://, gs://.
        glob: which files of the folder; has no say when `uri` is a file.
        probe: whether to read the duration out of a local file's header.

    Raises:
        StageError: ``not_found``, ``denied``, ``unreachable``, ``unsupported_scheme``.
    """
    path = local_path(uri)
    return _remote(uri, glob, tick) if path is None else _local(path, glob, uri, probe, tick)


def _local(root: Path, glob: str, uri: str, probe: bool, tick: Tick) -> Iterator[Candidate]:
    if root.is_dir():
        if not os.access(root, os.R_OK | os.X_OK):
            raise StageError("denied", f"{root}: it may not be read", permanent=True)
        names = sorted(_walk(root, glob, tick))
    elif root.exists():
        names = [""]
    else:
        raise StageError(
            "not_found",
            f"{root}: there is no such file or folder; check the source's uri",
            permanent=True,
        )
    for name in names:
        tick()
        yield _local_file(root / name if name else root, uri, probe=probe)


def _walk(root: Path, glob: str, tick: Tick) -> Iterator[str]:
    most = deepest(glob)
    for folder, folders, files in os.walk(root):
        tick()
        here = Path(folder).relative_to(root)
        if most is not None and len(here.parts) + 1 >= most:
            folders.clear()
        for file in files:
            name = (here / file).as_posix()
            if is_meant(name, glob):
                yield name


def _local_file(path: Path, uri: str, *, probe: bool) -> Candidate:
    url = path.absolute().as_uri()
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(EDGE_BYTES)
            file.seek(max(size - EDGE_BYTES, 0))
            video_id = file_id(path.name, size, head, file.read(EDGE_BYTES))
    except OSError as error:
        reason = f"Unreadable: {path}: {error.strerror}"
        return Candidate(url_id(url), url, "FILE", uri, path.stem, unusable=reason)
    metadata: dict[str, Any] = {"bytes": size}
    if probe:
        try:
            duration = media.duration_seconds(path)
        except StageError:
            duration = None  # the download says what is wrong with it
        if duration is not None:
            metadata["duration_seconds"] = duration
    return Candidate(video_id, url, "FILE", uri, path.stem, metadata)


def _remote(uri: str, glob: str, tick: Tick) -> Iterator[Candidate]:
    with remote_failures(uri):
        filesystem, root = fsspec.core.url_to_fs(uri)
        filesystem.invalidate_cache()
        tick()
        paths = [root] if filesystem.isfile(root) else _listed(filesystem, root, glob)
        for path in paths:
            tick()
            size = int(filesystem.size(path) or 0)
            head = filesystem.cat_file(path, start=0, end=min(size, EDGE_BYTES)) if size else b""
            tail = head
            if size > EDGE_BYTES:
                tail = filesystem.cat_file(path, start=size - EDGE_BYTES, end=size)
            name = PurePosixPath(path)
            yield Candidate(
                file_id(name.name, size, head, tail),
                filesystem.unstrip_protocol(path),
                "FILE",
                uri,
                name.stem,
                {"bytes": size},
            )


def _listed(filesystem: Any, root: str, glob: str) -> list[str]:
    found = filesystem.find(root, maxdepth=deepest(glob))
    if not found and not filesystem.exists(root):
        raise FileNotFoundError(root)
    prefix = root.rstrip("/") + "/"
    return [path for path in sorted(found) if is_meant(path.removeprefix(prefix), glob)]
