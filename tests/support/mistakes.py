"""Things that a user or a machine gets wrong, each done for real to a project on a bench."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from data_miner.db.migrate import upgrade
from data_miner.postgres import Server
from support.bench import Bench
from support.database import FAST, enterable_folder
from support.disk import grow, limit_files, small_disk
from support.product import Finished, Product
from support.waiting import eventually

Mistake = Callable[[Bench, str], Finished]
"""Makes the project of this name with the mistake in it, and runs it."""
DISK_FULL = (
    r"full-disk: put off: \S+ disk_full: .*small disk.*: No space left on device; make room.*"
)
PATIENT = {"DATA_MINER_PATIENCE_SECONDS": "8"}


def spec(without: str = "", **sections: str) -> Mistake:
    """A project with other sections."""
    return lambda bench, name: bench.run(bench.project(name, without=without, **sections))


def named(metadata: str) -> Mistake:
    """A project that is called something else."""
    return lambda bench, name: bench.run(bench.project(name, metadata=metadata))


def beside(**contents: bytes) -> Mistake:
    """Files with these contents beside the good ones."""

    def act(bench: Bench, name: str) -> Finished:
        bad = bench.with_files(name, **contents)
        return bench.run(bench.project(name, bench.files(bench.good), bad))

    return act


def alone(**contents: bytes) -> Mistake:
    """Files with these contents and nothing else."""
    return lambda bench, name: bench.run(bench.project(name, bench.with_files(name, **contents)))


def half(what: tuple[str, float, float]) -> Mistake:
    """The first half of a clip beside the good files."""

    def act(bench: Bench, name: str) -> Finished:
        bad = bench.with_files(name, **{f"half_{what[0].rpartition('.')[2]}": bench.half(what)})
        return bench.run(bench.project(name, bench.files(bench.good), bad))

    return act


def missing_file(bench: Bench, name: str) -> Finished:
    """A source names a file that is not there."""
    gone = bench.files(bench.folder / "gone.mp4")
    return bench.run(bench.project(name, bench.files(bench.good), gone))


def no_project_file(bench: Bench, name: str) -> Finished:
    """The project's own file is not there."""
    return bench.run(bench.folder / f"{name}.yaml")


def address(path: str) -> Mistake:
    """An address beside the good files."""

    def act(bench: Bench, name: str) -> Finished:
        urls = f"urls: {{items: ['{bench.server.url(path)}']}}"
        project = bench.project(name, bench.files(bench.good), urls)
        return bench.run(project, DATA_MINER_SOCKET_TIMEOUT_SECONDS="1")

    return act


def altered_model(bench: Bench, name: str) -> Finished:
    """A file of the model is not the one that its card was written for."""
    store = bench.model("altered", "tiny-siglip", {})
    (store / "tiny" / "text.onnx").write_bytes(b"something else")
    chosen = "{model: altered, positive: [a photo of a star]}"
    project = bench.project(name, filter=chosen)
    return bench.run(project, DATA_MINER_MODELS_DIRS=str(store))


def misshapen_model(bench: Bench, name: str) -> Finished:
    """The files are right, but the graph has another output than the card says."""
    wrong = {'["batch", 64]': '["batch", 96]', "dimension = 64": "dimension = 96"}
    store = bench.model("misshapen", "tiny-dino", wrong)
    project = bench.project(name, dedup="{model: misshapen}")
    return bench.run(project, DATA_MINER_MODELS_DIRS=str(store))


def misshapen_detector(bench: Bench, name: str) -> Finished:
    """As above, where only the images are left to be labelled."""
    wrong = {'["batch", 72, 128, 3]': '["batch", 3, 72, 128]'}
    store = bench.model("misshapen-detector", "tiny-detector", wrong)
    detect = "{classes: [{name: star}], detectors: [{model: misshapen-detector}]}"
    project = bench.project(name, detect=detect)
    return bench.run(project, DATA_MINER_MODELS_DIRS=str(store))


def missing_list(bench: Bench, name: str) -> Finished:
    """A source names a list of addresses that is not there."""
    gone = f"urls: {{file: '{bench.folder / 'gone.txt'}'}}"
    return bench.run(bench.project(name, bench.files(bench.good), gone))


def full_disk(bench: Bench, name: str) -> Finished:
    """The store's disk is full; as soon as there is room, what was begun is finished."""
    folder = bench.folder / "small disk"
    project = bench.project(name)
    with small_disk(folder, kilobytes=4) as mounted, contextlib.ExitStack() as stack:
        bench.own = bench.new_product("full-disk")
        bench.own.environment = {
            **bench.own.environment,
            "DATA_MINER_STORAGE_URI": str(folder / "store"),
        }
        process = bench.own.start("run", project)
        stack.callback(end, process)
        if not mounted:
            return without_a_disk(bench.own, process, project, name)
        said = [next(line for line in process.stderr or () if "disk_full" in line)]
        grow(folder, kilobytes=64 << 10)
        out, err = process.communicate(timeout=120)
        assert re.fullmatch(DISK_FULL, said[0].rstrip()), said
        assert bench.status(name)["put_off"] == []
        return Finished(process.returncode, out, "".join(said) + err)


def without_a_disk(
    product: Product, process: subprocess.Popen[str], project: Path, name: str
) -> Finished:
    """Where no disk can be mounted: files may not grow, and after that they may again."""
    limit_files(process.pid, kilobytes=4)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3, out + err
    assert "storage: " in out
    assert product.do("retry", name).code == 0
    return product.do("run", project)


def full_home(bench: Bench, name: str) -> Finished:
    """The home folder's disk is full before anything is there."""
    folder = bench.folder / "full disk"
    project = bench.project(name)
    with small_disk(folder, kilobytes=4) as mounted:
        if not mounted:
            (folder / "home").touch()
        else:
            with (folder / "filler").open("wb", buffering=0) as filler:
                filler.write(bytes(1 << 20))
        return Product(folder / "home").do("run", project)


def no_database(bench: Bench, name: str) -> Finished:
    """Nobody listens where the database should be."""
    url = "postgresql://me:secret@127.0.0.1:9/none"
    return bench.run(bench.project(name), DATA_MINER_DATABASE_URL=url)


def database_without_schema(bench: Bench, name: str) -> Finished:
    """The database is there, and nobody has made the tables."""
    return bench.run(bench.project(name), DATA_MINER_DATABASE_URL=bench.empty_database)


def database_gone(*, for_good: bool) -> Mistake:
    """The database goes away while a video is being fetched."""

    def act(bench: Bench, name: str) -> Finished:
        folder = enterable_folder()
        urls = f"urls: {{items: ['{bench.server.url('/slow.mp4')}']}}"
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder)
            with bench.server.hold("/slow.mp4") as slow:
                with Server(folder, settings=FAST) as server:
                    upgrade(server.url)
                    own = Product(
                        folder / "home", {"DATA_MINER_DATABASE_URL": server.url, **PATIENT}
                    )
                    process = own.start("run", bench.project(name, urls), "--json")
                    stack.callback(end, process)
                    assert slow.asked.wait(60)
                slow.open.set()
                log = own.home / "logs" / "worker-0.log"
                eventually(lambda: "database_away" in log.read_text(), what="the loss is noticed")
                if for_good:
                    out, err = process.communicate(timeout=120)
                else:
                    with Server(folder, settings=FAST):
                        out, err = process.communicate(timeout=120)
        finished = Finished(process.returncode, out, err)
        assert for_good or finished.json["dataset"]["images"] > 0
        return finished

    return act


def end(process: subprocess.Popen[str]) -> None:
    """Leave no program behind, however the test went."""
    process.kill()
    process.communicate()


def strange_names(bench: Bench, name: str) -> Finished:
    """Files, folders and the project's own file have names that nobody would choose."""
    folder = bench.folder / 'it\'s "a" folder; rm -rf ..🎬 %s {x}'
    folder.mkdir()
    for index, path in enumerate(sorted(bench.good.iterdir())):
        shutil.copyfile(path, folder / f"a..'{index}\" $(id) 🎬 #%20?&*[a].{path.suffix[1:]}")
    project = bench.project(name, bench.files(folder))
    return bench.run(project.rename(folder / "it's 🎬.yaml"))
