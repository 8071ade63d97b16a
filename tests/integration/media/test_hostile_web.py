"""What a web of strangers may not do to the machine that downloads from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_miner.stage import Outcome, StageError, Video
from data_miner_worker.stages.download import Download
from support.context import Bench
from support.http import WebServer
from support.media import VP9, clip

ANY: dict[str, Any] = {"max_height": 1080, "max_bytes": None, "credential": None}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server that downloads may reach although it is on this machine."""
    monkeypatch.setenv("DATA_MINER_ALLOW_PRIVATE_ADDRESSES", "1")
    monkeypatch.setenv("DATA_MINER_SOCKET_TIMEOUT_SECONDS", "0.5")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with WebServer() as server:
        yield server


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small video."""
    return clip(tmp_path_factory.mktemp("film") / "film", VP9, frames=30)


def _run(tmp_path: Path, url: str) -> Outcome:
    bench = Bench(tmp_path / "bench", Video("clip-1", url, "MANUAL"))
    return Download().run(bench.context("download", ANY))


def test_only_a_file_source_reads_files(tmp_path: Path, film: Path) -> None:
    """A video that came out of the web is not fetched from this machine, whatever its address."""
    for source_type in ("URL", "MANUAL", "SEARCH"):
        bench = Bench(tmp_path / source_type, Video("clip-1", film.as_uri(), source_type))
        with pytest.raises(StageError) as caught:
            Download().run(bench.context("download", ANY))
        assert (caught.value.error_class, caught.value.permanent) == ("unsupported_scheme", True)


def test_no_program_fetches_in_our_place(tmp_path: Path, web: WebServer, film: Path) -> None:
    """An encrypted stream, which yt-dlp would leave to ffmpeg, past the guard of addresses."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1"]
    lines += [f'#EXT-X-KEY:METHOD=SAMPLE-AES,URI="{web.put("/key", bytes(16))}"']
    lines += ["#EXTINF:1,", web.put("/piece.ts", film), "#EXT-X-ENDLIST", ""]
    kind = "application/vnd.apple.mpegurl"
    url = web.put("/film.m3u8", "\n".join(lines).encode(), content_type=kind)
    started: list[str] = []
    listening = True

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "subprocess.Popen":
            started.append(str(arguments[1]))

    sys.addaudithook(hear)
    with pytest.raises(StageError):
        _run(tmp_path, url)
    listening = False

    assert not [command for command in started if "http" in command]
    assert web.gets["/film.m3u8"] >= 1


def test_plugins_and_settings_of_a_user_are_not_loaded(tmp_path: Path) -> None:
    """What lies in a home folder for yt-dlp neither runs nor changes what is fetched."""
    plugin = tmp_path / ".config/yt-dlp/plugins/mine/yt_dlp_plugins/extractor"
    plugin.mkdir(parents=True)
    mark = tmp_path / "it-ran"
    (plugin / "mine.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    (tmp_path / ".config/yt-dlp/config").write_text("--exec 'touch it-ran'\n")
    code = (
        "from pathlib import Path; from data_miner_worker.download import Limits, sites\n"
        "sites.known_page('https://x.test/a')\n"
        "try: sites.metadata('https://127.0.0.1:1/', Path('.'), Limits(), lambda: None)\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "StageError\n"
    assert not mark.exists()
