"""Whatever a user or a machine gets wrong: one clear line, an exit code, nothing lost."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data_miner.db.migrate import upgrade
from data_miner.postgres import Server
from support import clips
from support.bench import Bench
from support.database import FAST, Databases, enterable_folder
from support.disk import grow, limit_files, small_disk
from support.media_server import MediaServer
from support.product import Finished, Product
from support.waiting import eventually

DISK_FULL = (
    r"full-disk: put off: \S+ disk_full: .*small disk.*: No space left on device; make room.*"
)
PATIENT = {"DATA_MINER_PATIENCE_SECONDS": "8"}
NAMES_SAY = (
    "must be at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Something wrong, and all that may come of it. Texts are regular expressions."""

    act: Callable[[Bench, str], Finished]
    """Does it; is given the name that the project has to have."""
    code: int
    says: tuple[str, ...] = ()
    """The lines on stderr that say "error: ", all of them."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """What `status` shows as failed, by class, and what each one says."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """The same for what it shows as left out, by reason, besides export's NoImages."""
    images: bool | None = None
    """Whether there is a dataset in the end; None where not even a project may be there."""


def spec(without: str = "", **sections: str) -> Callable[[Bench, str], Finished]:
    """A project with other sections."""
    return lambda bench, name: bench.run(bench.project(name, without=without, **sections))


def named(metadata: str) -> Callable[[Bench, str], Finished]:
    """A project that is called something else."""
    return lambda bench, name: bench.run(bench.project(name, metadata=metadata))


def beside(**contents: bytes) -> Callable[[Bench, str], Finished]:
    """Files with these contents beside the good ones."""

    def act(bench: Bench, name: str) -> Finished:
        bad = bench.with_files(name, **contents)
        return bench.run(bench.project(name, bench.files(bench.good), bad))

    return act


def alone(**contents: bytes) -> Callable[[Bench, str], Finished]:
    """Files with these contents and nothing else."""
    return lambda bench, name: bench.run(bench.project(name, bench.with_files(name, **contents)))


def half(what: tuple[str, float, float]) -> Callable[[Bench, str], Finished]:
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


def address(path: str) -> Callable[[Bench, str], Finished]:
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
    store = bench.model("misshapen", "tiny-dino", {'["batch", 64]': '["batch", 96]'})
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


def database_gone(*, for_good: bool) -> Callable[[Bench, str], Finished]:
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


TABLE: dict[str, Row] = {
    "misspelt key": Row(
        act=spec(without="filter", fliter="{model: tiny-siglip, positive: [a]}"),
        code=2,
        says=(r".*\.yaml:\d+: spec\.fliter: unknown key; did you mean filter\?",),
    ),
    "missing key": Row(
        act=spec(filter="{model: tiny-siglip}"),
        code=2,
        says=(r".*\.yaml:\d+: spec\.filter\.positive: is missing; must be a list of .*",),
    ),
    "wrong type": Row(
        act=spec(target="{images: many}"),
        code=2,
        says=(r'.*\.yaml:\d+: spec\.target\.images: got "many"; must be a whole number from 1 .*',),
    ),
    "two at once": Row(
        act=spec(sampling="{every: 2}", dedup="{threshold: 7}"),
        code=2,
        says=(
            r'.*\.yaml:\d+: spec\.sampling\.every: got 2; must have a unit: write "2s" .*',
            r".*\.yaml:\d+: spec\.dedup\.threshold: got 7; must be a number above 0, at most 1",
        ),
    ),
    "threshold out of range": Row(
        act=spec(filter="{positive: [a], thresholds: {positive: 1.5}}"),
        code=2,
        says=(r".*: spec\.filter\.thresholds\.positive: got 1\.5; must be a number from 0 .*",),
    ),
    "splits do not sum to 1": Row(
        act=spec(export="{splits: {train: 0.9}}"),
        code=2,
        says=(r".*: spec\.export\.splits: .* must sum to 1; 0\.9 \+ 0\.1 \+ 0\.1 is 1\.1",),
    ),
    "slash in the name": Row(
        act=named("{name: a/b}"), code=2, says=(rf'.*: metadata\.name: got "a/b"; {NAMES_SAY}',)
    ),
    "dots as the name": Row(
        act=named("{name: ..}"), code=2, says=(rf'.*: metadata\.name: got "\.\."; {NAMES_SAY}',)
    ),
    "quote in the name": Row(
        act=named("""{name: "it's"}"""), code=2, says=(rf'.*name: got "it\'s"; {NAMES_SAY}',)
    ),
    "emoji in the name": Row(
        act=named("{name: 🎬}"), code=2, says=(rf'.*name: got "🎬"; {NAMES_SAY}',)
    ),
    "no project file": Row(
        act=no_project_file, code=2, says=(r".*\.yaml: there is no such file; check the path",)
    ),
    "unknown model": Row(
        act=spec(dedup="{model: tiny-dina}"),
        code=6,
        says=(r"model 'tiny-dina' is not known; known here: .*tiny-dino.*",),
    ),
    "model with a wrong sha256": Row(
        act=altered_model, code=6, says=(r"model altered: .*text\.onnx.*(bytes|sha256).*",)
    ),
    "model with a wrong shape": Row(
        act=misshapen_model,
        code=3,
        says=(r"\S+ is stalled: NoUsableVideo: .*; dedup_embed model_unusable: model misshapen.*",),
        failures={"model_unusable": r"model misshapen.*shape \(batch, 64\), its card says.*"},
        images=False,
    ),
    "detector with a wrong shape": Row(
        act=misshapen_detector,
        code=3,
        says=(r"\S+ is stalled: .*; detect model_unusable: model misshapen.*",),
        failures={"model_unusable": r"model misshapen.*shape \(.*, its card says.*"},
        images=False,
    ),
    "list of addresses that is not there": Row(
        act=missing_list, code=0, failures={"not_found": r".*gone\.txt.*"}, images=True
    ),
    "file that is not there": Row(
        act=missing_file, code=0, failures={"not_found": r".*gone\.mp4.*"}, images=True
    ),
    "not a video": Row(
        act=beside(notes_mp4=b"Dear diary,\n" * 400),
        code=0,
        failures={"not_a_video": r".*notes\.mp4.*"},
        images=True,
    ),
    "empty file": Row(
        act=beside(empty_mp4=b""), code=0, failures={"empty_file": r".*empty\.mp4.*"}, images=True
    ),
    "half a file without its index": Row(
        act=half(clips.RING), code=0, failures={"corrupt": r".*/half\.mp4: .*"}, images=True
    ),
    "half a file": Row(
        act=half(clips.LONG),
        code=0,
        skipped={"Partial": r"the file ends at .* s of 8\.0 s"},
        images=True,
    ),
    "sound only": Row(
        act=beside(tune_mp4=clips.sound_only()),
        code=0,
        failures={"no_video_stream": r".*tune\.mp4.*"},
        images=True,
    ),
    "nothing but bad files": Row(
        act=alone(notes_mp4=b"Dear diary,\n" * 99, empty_mp4=b"", tune_mp4=clips.sound_only()),
        code=3,
        says=(r"\S+ is stalled: NoUsableVideo: none of the 3 videos can be used; download .*",),
        failures={"not_a_video": ".*", "empty_file": ".*", "no_video_stream": ".*"},
        images=False,
    ),
    "nothing like the prompts": Row(
        act=spec(filter="{model: tiny-siglip, positive: [a photo of a crescent]}"),
        code=3,
        says=(r"\S+ is stalled: NothingKept: no frame passed the filter",),
        images=False,
    ),
    "address that is not there": Row(
        act=address("/nothing.mp4"), code=0, failures={"not_found": ".*404.*"}, images=True
    ),
    "address that never answers": Row(
        act=address("/silence.mp4"), code=0, failures={"timeout": r".*"}, images=True
    ),
    "address of a web page": Row(
        act=address("/page.html"), code=0, failures={"not_a_video": r".*page\.html.*"}, images=True
    ),
    "full disk": Row(act=full_disk, code=0, images=True),
    "full home": Row(act=full_home, code=5, says=(r"home folder .*: .*; choose another .*",)),
    "no database": Row(
        act=no_database,
        code=4,
        says=(r"cannot reach PostgreSQL at 127\.0\.0\.1:9/none: Is the server running.*",),
    ),
    "database without a schema": Row(
        act=database_without_schema,
        code=4,
        says=(r"the database .* has no schema yet: run `data-miner db upgrade`",),
    ),
    "database gone for a while": Row(act=database_gone(for_good=False), code=0),
    "database gone for good": Row(
        act=database_gone(for_good=True), code=4, says=(r"cannot reach PostgreSQL at .*",)
    ),
    "strange file names": Row(act=strange_names, code=0, images=True),
}


@pytest.fixture(scope="module")
def bench(
    databases: Databases,
    new_product: Callable[[str], Product],
    media_server: MediaServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    """One home for all rows: what one has mined, the next need not."""
    media_server.add("/page.html", b"<html><title>Cats</title><p>no film", content_type="text/html")
    media_server.add("/silence.mp4", b"never")
    media_server.pages["/silence.mp4"].open.clear()
    folder = tmp_path_factory.mktemp("bad-input")
    bench = Bench(new_product("bad"), media_server, folder, databases.create(), new_product)
    media_server.add("/slow.mp4", (bench.good / "star.mp4").read_bytes())
    return bench


@pytest.mark.parametrize("what", TABLE)
def test_bad_input(what: str, bench: Bench) -> None:
    """One line for each problem, the documented exit code, no traceback, and the rest is done."""
    row, name = TABLE[what], re.sub(r"\W", "-", what.lower())
    bench.own = None
    finished = row.act(bench, name)
    shown = f"exit {finished.code}\n{finished.out}\n{finished.err}"

    assert finished.code == row.code, shown
    assert "Traceback" not in finished.out + finished.err, shown
    assert "secret" not in finished.out + finished.err, shown
    errors = [x[7:] for x in finished.err.splitlines() if x.startswith("error: ")]
    assert len(errors) == len(row.says), shown
    for line, pattern in zip(errors, row.says, strict=True):
        assert re.fullmatch(pattern, line), shown

    if row.images is None:
        assert name not in bench.projects()
        return
    state = bench.status(name)
    assert bool(state["dataset"] and state["dataset"]["images"]) is row.images, state
    assert (state["phase"]["name"] == "Complete") is row.images, state
    shown_as = {
        "error_class": (row.failures, state["failures"]),
        "reason": (row.skipped, [x for x in state["skipped"] if x["stage"] != "export"]),
    }
    for key, (patterns, found) in shown_as.items():
        assert {x[key] for x in found} == patterns.keys(), found
        for word, pattern in patterns.items():
            lines = [x for x in finished.out.splitlines() if f"{word}: " in x]
            assert len(lines) == 1, shown
            assert re.fullmatch(rf"\d+.* {word}: {pattern}", lines[0]), shown
