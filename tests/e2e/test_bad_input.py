"""Whatever a user or a machine gets wrong: one clear line, an exit code, nothing lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from support import clips, mistakes
from support.bench import Bench
from support.database import Databases
from support.media_server import MediaServer
from support.product import Product

NAMES_SAY = (
    "must be at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Something wrong, and all that may come of it. Texts are regular expressions."""

    act: mistakes.Mistake
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


TABLE: dict[str, Row] = {
    "misspelt key": Row(
        act=mistakes.spec(without="filter", fliter="{model: tiny-siglip, positive: [a]}"),
        code=2,
        says=(r".*\.yaml:\d+: spec\.fliter: unknown key; did you mean filter\?",),
    ),
    "missing key": Row(
        act=mistakes.spec(filter="{model: tiny-siglip}"),
        code=2,
        says=(r".*\.yaml:\d+: spec\.filter\.positive: is missing; must be a list of .*",),
    ),
    "wrong type": Row(
        act=mistakes.spec(target="{images: many}"),
        code=2,
        says=(r'.*\.yaml:\d+: spec\.target\.images: got "many"; must be a whole number from 1 .*',),
    ),
    "two at once": Row(
        act=mistakes.spec(sampling="{every: 2}", dedup="{threshold: 7}"),
        code=2,
        says=(
            r'.*\.yaml:\d+: spec\.sampling\.every: got 2; must have a unit: write "2s" .*',
            r".*\.yaml:\d+: spec\.dedup\.threshold: got 7; must be a number above 0, at most 1",
        ),
    ),
    "threshold out of range": Row(
        act=mistakes.spec(filter="{positive: [a], thresholds: {positive: 1.5}}"),
        code=2,
        says=(r".*: spec\.filter\.thresholds\.positive: got 1\.5; must be a number from 0 .*",),
    ),
    "splits do not sum to 1": Row(
        act=mistakes.spec(export="{splits: {train: 0.9}}"),
        code=2,
        says=(r".*: spec\.export\.splits: .* must sum to 1; 0\.9 \+ 0\.1 \+ 0\.1 is 1\.1",),
    ),
    "slash in the name": Row(
        act=mistakes.named("{name: a/b}"),
        code=2,
        says=(rf'.*: metadata\.name: got "a/b"; {NAMES_SAY}',),
    ),
    "dots as the name": Row(
        act=mistakes.named("{name: ..}"),
        code=2,
        says=(rf'.*: metadata\.name: got "\.\."; {NAMES_SAY}',),
    ),
    "quote in the name": Row(
        act=mistakes.named("""{name: "it's"}"""),
        code=2,
        says=(rf'.*name: got "it\'s"; {NAMES_SAY}',),
    ),
    "emoji in the name": Row(
        act=mistakes.named("{name: 🎬}"), code=2, says=(rf'.*name: got "🎬"; {NAMES_SAY}',)
    ),
    "no project file": Row(
        act=mistakes.no_project_file,
        code=2,
        says=(r".*\.yaml: there is no such file; check the path",),
    ),
    "unknown model": Row(
        act=mistakes.spec(dedup="{model: tiny-dina}"),
        code=6,
        says=(r"model 'tiny-dina' is not known; known here: .*tiny-dino.*",),
    ),
    "model with a wrong sha256": Row(
        act=mistakes.altered_model, code=6, says=(r"model altered: .*text\.onnx.*(bytes|sha256).*",)
    ),
    "model with a wrong shape": Row(
        act=mistakes.misshapen_model,
        code=3,
        says=(r"\S+ is stalled: NoUsableVideo: .*; dedup_embed model_unusable: model misshapen.*",),
        failures={"model_unusable": r"model misshapen.*shape \(batch, 64\), its card says.*"},
        images=False,
    ),
    "detector with a wrong shape": Row(
        act=mistakes.misshapen_detector,
        code=3,
        says=(r"\S+ is stalled: NothingExported: .*; detect model_unusable: model misshapen.*",),
        failures={"model_unusable": r"model misshapen.*shape \(.*, its card says.*"},
        images=False,
    ),
    "list of addresses that is not there": Row(
        act=mistakes.missing_list, code=0, failures={"not_found": r".*gone\.txt.*"}, images=True
    ),
    "file that is not there": Row(
        act=mistakes.missing_file, code=0, failures={"not_found": r".*gone\.mp4.*"}, images=True
    ),
    "not a video": Row(
        act=mistakes.beside(notes_mp4=b"Dear diary,\n" * 400),
        code=0,
        failures={"not_a_video": r".*notes\.mp4.*"},
        images=True,
    ),
    "empty file": Row(
        act=mistakes.beside(empty_mp4=b""),
        code=0,
        failures={"empty_file": r".*empty\.mp4.*"},
        images=True,
    ),
    "half a file without its index": Row(
        act=mistakes.half(clips.RING),
        code=0,
        failures={"corrupt": r".*/half\.mp4: .*"},
        images=True,
    ),
    "half a file": Row(
        act=mistakes.half(clips.LONG),
        code=0,
        skipped={"Partial": r"the file ends at .* s of 8\.0 s"},
        images=True,
    ),
    "sound only": Row(
        act=mistakes.beside(tune_mp4=clips.sound_only()),
        code=0,
        failures={"no_video_stream": r".*tune\.mp4.*"},
        images=True,
    ),
    "nothing but bad files": Row(
        act=mistakes.alone(
            notes_mp4=b"Dear diary,\n" * 99, empty_mp4=b"", tune_mp4=clips.sound_only()
        ),
        code=3,
        says=(r"\S+ is stalled: NoUsableVideo: none of the 3 videos can be used; download .*",),
        failures={"not_a_video": ".*", "empty_file": ".*", "no_video_stream": ".*"},
        images=False,
    ),
    "nothing like the prompts": Row(
        act=mistakes.spec(filter="{model: tiny-siglip, positive: [a photo of a crescent]}"),
        code=3,
        says=(r"\S+ is stalled: NothingKept: no frame passed the filter",),
        images=False,
    ),
    "address that is not there": Row(
        act=mistakes.address("/nothing.mp4"), code=0, failures={"not_found": ".*404.*"}, images=True
    ),
    "address that never answers": Row(
        act=mistakes.address("/silence.mp4"), code=0, failures={"timeout": r".*"}, images=True
    ),
    "address of a web page": Row(
        act=mistakes.address("/page.html"),
        code=0,
        failures={"not_a_video": r".*page\.html.*"},
        images=True,
    ),
    "full disk": Row(act=mistakes.full_disk, code=0, images=True),
    "full home": Row(
        act=mistakes.full_home, code=5, says=(r"home folder .*: .*; choose another .*",)
    ),
    "no database": Row(
        act=mistakes.no_database,
        code=4,
        says=(r"cannot reach PostgreSQL at 127\.0\.0\.1:9/none: Is the server running.*",),
    ),
    "database without a schema": Row(
        act=mistakes.database_without_schema,
        code=4,
        says=(r"the database .* has no schema yet: run `data-miner db upgrade`",),
    ),
    "database gone for a while": Row(act=mistakes.database_gone(for_good=False), code=0),
    "database gone for good": Row(
        act=mistakes.database_gone(for_good=True), code=4, says=(r"cannot reach PostgreSQL at .*",)
    ),
    "strange file names": Row(act=mistakes.strange_names, code=0, images=True),
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
