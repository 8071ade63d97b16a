"""What kind of video a file is, and whether it is one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import av

from data_miner_worker.media.opening import opened
from data_miner_worker.media.timeline import decoded, nothing_decodes, video_packets

_PATIENCE_PACKETS: Final = 300
"""Without one picture after so many packets, a file counts as corrupt."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Facts about a video file."""

    container: str
    """``mp4``, ``webm``, ``mkv``, ``avi`` or FFmpeg's name of another one."""
    codec: str
    width: int
    height: int
    """Pixels of the upright picture."""
    frame_rate: float | None
    """Frames per second on average; None when the file does not say."""
    duration_seconds: float | None
    """As the file says; None when it does not."""

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def probe(path: Path) -> Probe:
    """Look at a file and decode its first frame.

    Raises:
        StageError: permanent ``empty_file``, ``not_a_video``, ``no_video_stream``, ``corrupt``.
    """
    with opened(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        duration = _duration_seconds(container, stream)
        frame = None
        for number, packet in enumerate(video_packets(container, stream)):
            frames = decoded(stream.codec_context, packet) or []
            frame = frames[0] if frames else None
            if frame is not None or number >= _PATIENCE_PACKETS:
                break
        else:
            frame = next(iter(decoded(stream.codec_context, None) or []), None)
        if frame is None:
            raise nothing_decodes(path)
        turned = round(frame.rotation / 90) % 2 == 1
        width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
        return Probe(
            container=_container_name(container.format.name, path),
            codec=stream.codec_context.codec.canonical_name,
            width=width,
            height=height,
            frame_rate=float(round(rate, 6)) if rate else None,
            duration_seconds=duration,
        )


def duration_seconds(path: Path) -> float | None:
    """How long a file says that it lasts, from its header; None when it does not say.

    Raises StageError as `probe` does, but ``corrupt`` only when it cannot be opened.
    """
    with opened(path) as (container, stream):
        return _duration_seconds(container, stream)


def _duration_seconds(
    container: av.container.InputContainer, stream: av.VideoStream
) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def _container_name(name: str, path: Path) -> str:
    if name.startswith("mov,"):
        return "mp4"
    if name.startswith("matroska"):
        with path.open("rb") as file:
            return "webm" if b"webm" in file.read(64) else "mkv"
    return name
