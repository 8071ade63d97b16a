"""The programs inside of the images, run as a restricted pod runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import data_miner
from support.images.container import Container, Open, end
from support.product import DEMO_PROJECT, FAST, Product
from support.waiting import eventually

SOCKETS = "/run/pg"
URL = f"postgresql://miner@/postgres?host={SOCKETS}"
PYTHON = "/opt/data-miner/venv/bin/python"


def test_it_knows_its_version(product: str, opened: Open) -> None:
    """The program starts on a root that nobody can write."""
    done = opened(product).do("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == data_miner.__version__


def test_it_cannot_write_outside_of_tmp(opened: Open) -> None:
    """What the tests here call a restricted pod is one: its user, its root, its network."""
    text = """
import os, pathlib, socket
print(os.getuid(), os.getgid(), os.getgroups())
for folder in ("/tmp", "/var/lib/data-miner", "/opt/data-miner", "/"):
    try:
        pathlib.Path(folder, "x").write_text("")
        print(folder, "written")
    except OSError as error:
        print(folder, error.strerror)
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError as error:
    print(error.strerror)
status = pathlib.Path("/proc/self/status").read_text()
print(*(line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "NoNew"))))
"""
    done = opened("worker").do("-c", text, entrypoint=[PYTHON])
    assert done.stdout.splitlines() == [
        "65532 65532 []",
        "/tmp written",
        "/var/lib/data-miner Read-only file system",
        "/opt/data-miner Read-only file system",
        "/ Read-only file system",
        "Network is unreachable",
        "0000000000000000 1",
    ]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("worker", ["--help"]),
        ("worker", ["worker", "--help"]),
        ("worker", ["db", "--help"]),
        ("worker", ["explain", "--help"]),
        ("operator", ["--help"]),
        ("operator", ["operator", "--help"]),
        ("operator", ["db", "--help"]),
        ("operator", ["status", "--help"]),
        ("operator", ["models", "list"]),
    ],
)
def test_commands_explain_themselves(name: str, arguments: list[str], opened: Open) -> None:
    """Nothing that a command imports was left out of its image."""
    done = opened(name).do(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Not here" not in done.stdout or arguments == ["--help"]


def test_a_command_of_the_other_image_says_so(opened: Open) -> None:
    """One line, not a traceback."""
    for name, command in (("operator", "explain"), ("worker", "operator")):
        done = opened(name).do(command)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {command} needs the Python package ")
        assert done.stderr.count("\n") == 1


def test_the_worker_brings_the_tiny_models(opened: Open) -> None:
    """They are listed, and every file is as its card says."""
    worker = opened("worker")
    assert {line.split()[0] for line in worker.do("models", "list").stdout.splitlines()} >= {
        "tiny-siglip",
        "tiny-dino",
        "tiny-detector",
    }
    done = worker.do("models", "verify")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_worker_brings_the_demo(opened: Open) -> None:
    """Project and clips are those of the repository, readable by everybody."""
    inside = opened("worker").root / "opt/data-miner/examples"
    assert (inside / "demo.yaml").read_bytes() == DEMO_PROJECT.read_bytes()
    for clip in (DEMO_PROJECT.parent / "demo/media").iterdir():
        copy = inside / "demo/media" / clip.name
        assert copy.read_bytes() == clip.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o644


def test_the_operator_without_a_database_says_what_to_set(opened: Open) -> None:
    """One line and the exit code of a wrong setting."""
    done = opened("operator").do()
    assert done.returncode == 2
    assert done.stderr.startswith("error: DATA_MINER_DATABASE_URL: ")


def test_what_was_left_out_of_packages_is_not_missed(opened: Open) -> None:
    """Parquet, S3, ffmpeg and every site of yt-dlp work without tests, headers and other parts."""
    text = """
import io, subprocess
import pyarrow, pyarrow.parquet, pyarrow.compute, pyarrow.dataset
table = pyarrow.table({"a": list(range(1000))})
file = io.BytesIO()
pyarrow.parquet.write_table(table, file, compression="zstd")
assert pyarrow.parquet.read_table(io.BytesIO(file.getvalue())) == table
import botocore.session
session = botocore.session.get_session()
for name in ("s3", "sts", "sso", "sso-oidc"):
    session.create_client(name, region_name="eu-west-1")
import s3fs
s3fs.S3FileSystem(key="a", secret="b", endpoint_url="http://127.0.0.1:9")
import yt_dlp.extractor
assert len(yt_dlp.extractor.gen_extractor_classes()) > 1000
import data_miner_worker.media.rewriting as rewriting
said = subprocess.run([rewriting.program(), "-version"], capture_output=True, text=True).stdout
assert said.startswith("ffmpeg version"), said
import fsspec, pygments.lexers, rich.syntax, structlog, tokenizers, onnxruntime, av, PIL.Image
print("whole")
"""
    done = opened("worker").do("-W", "error::ImportWarning", "-c", text, entrypoint=[PYTHON])
    assert done.stdout.strip() == "whole", done.stderr


def test_yt_dlp_is_replaced_without_a_release(opened: Open, tmp_path: Path) -> None:
    """A folder on PYTHONPATH, mounted or of a derived image, goes before what the image has."""
    newer = tmp_path / "packages" / "yt_dlp"
    newer.mkdir(parents=True)
    (newer / "__init__.py").write_text("")
    (newer / "version.py").write_text('__version__ = "2999.01.01"\n')
    tmp_path.chmod(0o755)
    worker = opened("worker", {newer.parent: "/overrides"})
    ask = ("-c", "import yt_dlp.version as v; print(v.__version__)")
    own = worker.do(*ask, entrypoint=[PYTHON]).stdout.strip()
    replaced = worker.do(*ask, entrypoint=[PYTHON], PYTHONPATH="/overrides").stdout.strip()
    assert (own != replaced, replaced) == (True, "2999.01.01")
    started = worker.do("--version", PYTHONPATH="/overrides")
    assert started.returncode == 0


@pytest.fixture(scope="module")
def sockets(opened: Open, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where PostgreSQL, out of the test image, listens."""
    folder, data = tmp_path_factory.mktemp("sockets"), tmp_path_factory.mktemp("data")
    for place in (folder, data):
        place.chmod(0o777)
    postgres = opened("postgres", {folder: SOCKETS, data: "/data"})
    text = (
        "initdb -D /data/new -U miner --auth=trust --locale=C.UTF-8 --encoding=UTF8 >&2"
        f" && exec postgres -D /data/new -k {SOCKETS} -c listen_addresses="
    )
    server = postgres.start("-c", text, entrypoint=["/bin/sh"])
    try:
        eventually(
            lambda: bool(list(folder.glob(".s.PGSQL.5432"))) or server.poll() is not None,
            seconds=60,
            what="PostgreSQL listens",
        )
        assert server.poll() is None, server.communicate()[1]
        yield folder
    finally:
        end(server)


@pytest.fixture
def mine(opened: Open, sockets: Path, tmp_path: Path) -> Container:
    """The worker's image beside PostgreSQL, with a home that can be written."""
    home = tmp_path / "home"
    home.mkdir()
    for folder in (tmp_path, home):
        folder.chmod(0o777)
    worker = opened("worker", {sockets: SOCKETS, home: "/var/lib/data-miner"})
    upgraded = worker.do("db", "upgrade", DATA_MINER_DATABASE_URL=URL)
    assert upgraded.returncode == 0, upgraded.stderr
    return worker


@pytest.mark.timeout(600)
def test_the_demo_completes_with_no_network(mine: Container, tmp_path: Path) -> None:
    """Clips, models and programs are all there, and the dataset is that of `data-miner run`."""
    done = subprocess.run(
        mine.command(
            *("run", "/opt/data-miner/examples/demo.yaml", "--json"),
            DATA_MINER_DATABASE_URL=URL,
            **FAST,
        ),
        env=mine.surroundings(),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    inside = json.loads(done.stdout.strip().splitlines()[-1])
    outside: Any = Product(tmp_path / "own").mine(DEMO_PROJECT)
    assert inside["dataset"]["digest"] == outside["dataset"]["digest"]


def test_a_worker_answers_for_its_health(mine: Container) -> None:
    """The image's own check says yes beside a worker that lives, and no beside none."""
    check = mine.config["Healthcheck"]["Test"][1:]
    assert mine.do(*check[1:], entrypoint=check[:1]).returncode == 1
    text = f"""
import subprocess, sys, time
worker = subprocess.Popen(["data-miner", "worker", "--metrics-port", "8080"])
deadline = time.monotonic() + 60
while subprocess.call({check!r}, stderr=subprocess.DEVNULL) and time.monotonic() < deadline:
    assert worker.poll() is None
    time.sleep(0.2)
worker.terminate()
print(time.monotonic() < deadline, worker.wait(60))
"""
    done = mine.do("-c", text, entrypoint=[PYTHON], DATA_MINER_DATABASE_URL=URL)
    assert done.stdout.splitlines()[-1] == "True 0", done.stderr
