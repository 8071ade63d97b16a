"""Programs that are built from Go modules of this repository, once for each state of their sources.

Knows the standard library only. What is built stays in the user's cache from clone to clone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNUSED_SECONDS = 30 * 86400.0
"""How long the programs of another state of the sources are kept, counted from their last use."""
WORD_SECONDS = 10.0
"""A build says at least this often that it goes on."""


class BuildError(Exception):
    """One line: why there are no programs, and what to do."""


@dataclass(frozen=True, slots=True)
class Module:
    """A folder with go.mod, and what is built from it."""

    name: str
    source: Path
    programs: Mapping[str, str]
    """Package by the program's name."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Further names, each with the program that is called so."""
    flags: tuple[str, ...] = ()
    """For `go build`, besides those that every build gets."""
    stamps: Mapping[str, str] = field(default_factory=dict)
    """Values that the linker puts into string variables, by the variable's full name."""


def programs_of(module: Module) -> Path:
    """The folder with a module's programs, built when it is not there (seconds to minutes).

    Raises BuildError when Go is missing or the build failed.
    """
    go = _go(module)
    folder = cache() / module.name / _key(module, _version(go))
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent / "lock", module.name):
            if not folder.is_dir():
                _build(go, module, folder)
                _forget_unused(folder)
    with suppress(OSError):  # somebody else's cache
        os.utime(folder)
    return folder


def cache() -> Path:
    """Where built things stay from clone to clone; inside the clone when home cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    wanted = Path(os.environ.get("DATA_MINER_CACHE") or Path(base) / "data-miner")
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        writable = os.access(wanted, os.W_OK)
    except OSError:
        writable = False
    return wanted if writable else ROOT / ".make" / "cache" / "data-miner"


def required(source: Path, pattern: str) -> str:
    """What go.mod in a folder says, as "1.26.0" for `go (\\S+)`; raises BuildError without it."""
    found = re.search(rf"^\s*(?:require )?{pattern}$", _text(source / "go.mod"), re.M)
    if not found:
        raise BuildError(f"{source / 'go.mod'} does not name {pattern}")
    return found[1]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise BuildError(f"{path} cannot be read: {error.strerror}") from error


def _go(module: Module) -> str:
    needed = required(module.source, r"go (\S+)")
    named = os.environ.get("GO")
    for candidate in [named] if named else ["go", "/usr/local/go/bin/go"]:
        program = shutil.which(candidate)
        if program and _numbers(_version(program)) >= _numbers(needed):
            return program
    short = ".".join(needed.split(".")[:2])
    raise BuildError(
        f"Go {short} or newer is needed to build {module.name}"
        f"{f', and GO={named} is not' if named else ''}: install it from your distribution "
        f"(its package may be older) or from the Go project's downloads into /usr/local/go, "
        f"or set GO=/path/to/bin/go"
    )


def _version(go: str) -> str:
    """As "go1.26.8"; empty when it does not say."""
    said = subprocess.run(
        [go, "env", "GOVERSION"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _key(module: Module, go_version: str) -> str:
    facts = (
        *(go_version, platform.system(), platform.machine()),
        *(repr(dict(module.programs)), repr(dict(module.links))),
        *(repr(module.flags), repr(dict(module.stamps))),
    )
    whole = hashlib.sha256("\n".join(facts).encode())
    for file in sorted(module.source.rglob("*")):
        if file.name in {"go.mod", "go.sum"} or file.suffix == ".go":
            whole.update(str(file.relative_to(module.source)).encode())
            whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Hold a lock file; says so, with the name of what is built, when another process has it."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(name, "another process is building; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(go: str, module: Module, folder: Path) -> None:
    for left_over in folder.parent.glob("*.new"):
        shutil.rmtree(left_over)
    new = folder.with_suffix(".new")
    new.mkdir()
    _say(module.name, f"building with {_version(go)}, once")
    stamps = [f"-X {variable}={value}" for variable, value in module.stamps.items()]
    for program, package in module.programs.items():
        _compile(
            module,
            [
                *(go, "build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly"),
                *(*_parallel(), *module.flags, "-ldflags", " ".join(["-s", "-w", *stamps])),
                *("-o", str(new / program), package),
            ],
        )
    for link, program in module.links.items():
        (new / link).symlink_to(program)
    new.rename(folder)


def _parallel() -> list[str]:
    """Of the user's GOFLAGS only how much is built at a time: the rest could change what is."""
    return [flag for flag in os.environ.get("GOFLAGS", "").split() if flag.startswith("-p=")]


def _environment() -> dict[str, str]:
    own = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    if cache().is_relative_to(ROOT):
        own |= {"GOPATH": str(cache() / "go"), "GOCACHE": str(cache() / "go-build")}
    return {**os.environ, **own}


def _compile(module: Module, command: list[str]) -> None:
    """Run Go's build; it names each module that it fetches and each package that it compiles."""
    started = said = time.monotonic()
    fetched = compiled = 0
    problems: list[str] = []
    with subprocess.Popen(
        command, cwd=module.source, env=_environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("go: downloading"):
                fetched += 1
            elif re.fullmatch(r"[\w./~-]+", line.strip()):
                compiled += 1
            else:
                problems = [*problems, line.strip()][-5:]
            if time.monotonic() - said > WORD_SECONDS:
                said = time.monotonic()
                took = f"{said - started:.0f} s"
                _say(module.name, f"{took}: {fetched} modules fetched, {compiled} packages done")
    if process.returncode:
        raise BuildError(
            f"go build of {module.name} ended with status {process.returncode}: "
            f"{' | '.join(problems)}; run it again, it goes on where it stopped (GOPROXY names a "
            "mirror)"
        )
    _say(module.name, f"{Path(command[-2]).name} built in {time.monotonic() - started:.0f} s")


def _forget_unused(current: Path) -> None:
    limit = time.time() - UNUSED_SECONDS
    for other in current.parent.iterdir():
        if other.is_dir() and other != current and other.stat().st_mtime < limit:
            shutil.rmtree(other, ignore_errors=True)


def _say(name: str, line: str) -> None:
    print(f"{name}: {line}", file=sys.stderr, flush=True)  # noqa: T201  # for a person
