"""CPU time of sampling, against decoding every frame of the same clip in the same process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import av

from data_miner_worker.media.pictures import pictures
from data_miner_worker.media.sampling import Indices, by_keyframe, by_time
from data_miner_worker.media.timeline import read_timeline

MEDIA = Path(__file__).parents[1] / "examples" / "demo" / "media"
ROUNDS = 3


def cpu_seconds(act: Callable[[], object]) -> float:
    """Median CPU time of a few calls; decoding uses one thread, so this is all of it."""
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        act()
        taken.append(time.process_time() - started)
    return median(taken)


def decode_all(path: Path) -> int:
    """Every frame to RGB, with one thread: what a plain loop would do."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for frame in container.decode(stream) if frame.to_ndarray(format="rgb24").size)


def sample(path: Path, choose: Callable[[Path], Indices]) -> None:
    """The scan of the packets, then the wanted frames."""
    timeline = read_timeline(path)
    for _ in pictures(path, timeline, [int(i) for i in choose(path)]):
        pass


def every(seconds: float) -> Callable[[Path], Indices]:
    def choose(path: Path) -> Indices:
        timeline = read_timeline(path)
        return by_time(timeline.pts, timeline.time_base, seconds)

    return choose


def keyframes(path: Path) -> Indices:
    return by_keyframe(read_timeline(path).keyframe)


def main() -> None:
    print("sampling, CPU time against decoding all frames (smaller is better)")
    print(f"  {'clip':<14} {'all, s':>8} {'every 2 s':>10} {'every 5 s':>10} {'keyframes':>10}")
    for path in sorted(MEDIA.iterdir()):
        whole = cpu_seconds(lambda path=path: decode_all(path))
        ratios = [
            cpu_seconds(lambda path=path, choose=choose: sample(path, choose)) / whole
            for choose in (every(2), every(5), keyframes)
        ]
        print(f"  {path.name:<14} {whole:8.2f} " + " ".join(f"{ratio:10.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
