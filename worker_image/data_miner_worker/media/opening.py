"""Opens a file as video, or says in one word why it is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import av
import av.error

from data_miner.stage import StageError

_VIDEO: Final = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mxf,ivf,h264,hevc,obu,"
    "av1,m4v,nut,rm,dv,wtv"
)
_SOUND: Final = "mp3,wav,w64,flac,aac,ac3,eac3,aiff,caf,amr"
_OPTIONS: Final = {
    # Without this list a text file could be a playlist that makes FFmpeg read other files.
    "format_whitelist": f"{_VIDEO},{_SOUND}",
    "protocol_whitelist": "file",
}
_HEAD_BYTES: Final = 12
_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
_MAGIC: Final = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75",  # ASF
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"DKIF",
    b".RMF",
)


@contextmanager
def opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its first video stream, decoded by one thread.

    Raises:
        StageError: permanent ``empty_file``, ``not_a_video``, ``no_video_stream`` or ``corrupt``
            (it begins like a video and cannot be opened as one); ``storage`` when it cannot be
            read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise StageError("storage", f"{path}: {error.strerror}") from error
    if not head:
        raise StageError("empty_file", f"{path.name}: the file is empty", permanent=True)
    try:
        container = av.open(str(path.absolute()), options=dict(_OPTIONS), metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise _refused(path, head, error) from error
    with container:
        stream = next((s for s in container.streams.video if not _is_cover(s)), None)
        if stream is None:
            raise StageError(
                "no_video_stream", f"{path.name}: there is no picture in it", permanent=True
            )
        # Deterministic, and tasks run beside each other anyway.
        stream.codec_context.thread_count = 1
        yield container, stream


def looks_like_video(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes claims to be a video container."""
    if head.startswith(b"RIFF"):
        return head[8:12] == b"AVI "
    return head[4:8] in _BOXES or head.startswith(_MAGIC)


def reason(error: BaseException) -> str:
    """What FFmpeg says, without its numbers and the path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _refused(path: Path, head: bytes, error: Exception) -> StageError:
    if looks_like_video(head):
        return StageError(
            "corrupt",
            f"{path.name}: it begins like a video but cannot be opened ({reason(error)});"
            " it may be cut off or damaged",
            permanent=True,
        )
    return StageError("not_a_video", f"{path.name}: this is no video file", permanent=True)


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether the stream is a still picture that belongs to a piece of music."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)
