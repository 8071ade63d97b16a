"""The only door to FFmpeg: PyAV for frames in memory, the ffmpeg program for whole files."""

from data_miner_worker.media.measures import Measures, measure
from data_miner_worker.media.pictures import Picture, pictures
from data_miner_worker.media.pixels import encode_image
from data_miner_worker.media.probing import Probe, duration_seconds, probe
from data_miner_worker.media.rewriting import program, rewrite
from data_miner_worker.media.timeline import Timeline, Times, read_timeline, read_times

__all__ = [
    "Measures",
    "Picture",
    "Probe",
    "Timeline",
    "Times",
    "duration_seconds",
    "encode_image",
    "measure",
    "pictures",
    "probe",
    "program",
    "read_timeline",
    "read_times",
    "rewrite",
]
