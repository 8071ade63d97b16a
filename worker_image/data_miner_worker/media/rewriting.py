"""Jobs on a whole file, done by the ffmpeg program: found with its wheel, never installed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import ffmpeg
import imageio_ffmpeg

from data_miner.stage import StageError
from data_miner_worker.media.timeline import Tick

_LOOK_SECONDS: Final = 0.5


def program() -> str:
    """Path of an ffmpeg program."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def rewrite(source: Path, target: Path, tick: Tick = lambda: None) -> None:
    """Copy the picture of `source`, not decoded, into a Matroska file with times that rise.

    Streams that were put together from pieces begin their clock anew at every piece; this counts
    on. The same input gives the same bytes. Raises StageError("rewrite_failed").
    """
    job = (
        ffmpeg.input(f"file:{source}", protocol_whitelist="file")
        .output(
            f"file:{target}",
            map="0:v:0",
            codec="copy",
            format="matroska",
            fflags="+bitexact",
            **{"flags:v": "+bitexact"},
        )
        .global_args("-nostdin", "-hide_banner", "-loglevel", "error")
        .overwrite_output()
    )
    log = target.with_suffix(".log")
    with log.open("wb") as said:
        process = subprocess.Popen(
            job.compile(cmd=program()), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            while process.poll() is None:
                try:
                    process.wait(_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    tick()
        finally:
            process.kill()
            process.wait()
    lines = log.read_text(errors="replace").split("\n")
    log.unlink()
    if process.returncode != 0:
        raise StageError("rewrite_failed", f"{source.name}: ffmpeg: {' '.join(lines)[:300]}")
