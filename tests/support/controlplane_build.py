"""The programs of the control plane for tests: built once from `tests/cluster/controlplane`.

Knows the standard library only, so that `scripts/controlplane` runs it before anything is set up.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "cluster" / "controlplane"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
UNUSED_SECONDS = 30 * 86400.0
"""How long the programs of another version of the sources are kept, counted from their last use."""
WORD_SECONDS = 10.0
"""A build says at least this often that it goes on."""


class BuildError(Exception):
    """One line: why there are no programs, and what to do."""


def binaries() -> Path:
    """The folder with the five programs, built when it is not there (minutes, from nothing).

    Raises BuildError when Go is missing or the build failed.
    """
    go = _go()
    version = _version(go)
    cache = _cache()
    folder = cache / "controlplane" / _key(version)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / "lock"):
            if not folder.is_dir():
                _build(go, folder, cache)
                _forget_unused(folder)
    with suppress(OSError):  # somebody else's cache
        os.utime(folder)
    return folder


def kubernetes_version() -> str:
    """The release that the sources name, as "1.36.3"."""
    return _required(r"k8s\.io/kubernetes v(\S+)")


def etcd_version() -> str:
    """The release of etcd that the sources name."""
    return _required(r"go\.etcd\.io/etcd/server/v3 v(\S+)")


def _required(pattern: str) -> str:
    found = re.search(rf"^\s*{pattern}$", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise BuildError(f"{SOURCE / 'go.mod'} does not name {pattern}")
    return found[1]


def _go() -> str:
    needed = _required(r"go (\S+)")
    named = os.environ.get("GO")
    tried = [named] if named else ["go", "/usr/local/go/bin/go"]
    for candidate in tried:
        program = shutil.which(candidate)
        if program and _numbers(_version(program)) >= _numbers(needed):
            return program
    short = ".".join(needed.split(".")[:2])
    raise BuildError(
        f"the cluster tests need Go {short} or newer to build the control plane"
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


def _cache() -> Path:
    """Where built things stay from clone to clone; inside the clone when home cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    wanted = Path(os.environ.get("DATA_MINER_CACHE") or Path(base) / "data-miner")
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        writable = os.access(wanted, os.W_OK)
    except OSError:
        writable = False
    return wanted if writable else ROOT / ".make" / "cache" / "data-miner"


def _key(go_version: str) -> str:
    machine = f"{platform.system()} {platform.machine()}"
    whole = hashlib.sha256(f"{go_version} {machine} {_stamps(kubernetes_version())}".encode())
    for file in (SOURCE / name for name in ("go.mod", "go.sum", "main.go")):
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another process is building; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(go: str, folder: Path, cache: Path) -> None:
    for left_over in folder.parent.glob("*.new"):
        shutil.rmtree(left_over)
    new = folder.with_suffix(".new")
    new.mkdir()
    kubernetes, etcd = kubernetes_version(), etcd_version()
    _say(f"building Kubernetes {kubernetes} and etcd {etcd} with {_version(go)}: minutes, once")
    _compile(
        [
            *(go, "build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly"),
            *("-ldflags", _stamps(kubernetes), "-o", str(new / "controlplane"), "."),
        ],
        _environment(cache),
    )
    for name in PROGRAMS:
        (new / name).symlink_to("controlplane")
    new.rename(folder)


def _stamps(kubernetes: str) -> str:
    """Linker flags that give the programs their version, which clients and charts ask for."""
    major, minor, _ = kubernetes.split(".")
    values = {
        "gitVersion": f"v{kubernetes}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    stamps = [f"-X {package}.{k}={v}" for package in packages for k, v in values.items()]
    return " ".join(["-s", "-w", *stamps])


def _environment(cache: Path) -> dict[str, str]:
    """Whatever the user says about proxies stays; Go's own flags are given on the command line."""
    own = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    if cache.is_relative_to(ROOT):
        own |= {"GOPATH": str(cache / "go"), "GOCACHE": str(cache / "go-build")}
    return {**os.environ, **own}


def _compile(command: list[str], environment: dict[str, str]) -> None:
    """Run Go's build; it names each module that it fetches and each package that it compiles."""
    started = said = time.monotonic()
    fetched = compiled = 0
    problems: list[str] = []
    with subprocess.Popen(
        command, cwd=SOURCE, env=environment, stderr=subprocess.PIPE, text=True
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
                _say(f"{said - started:.0f} s: {fetched} modules fetched, {compiled} packages done")
    if process.returncode:
        raise BuildError(
            f"go build ended with status {process.returncode}: {' | '.join(problems)}; run it "
            "again, it goes on where it stopped (GOPROXY names a mirror)"
        )
    _say(f"built in {time.monotonic() - started:.0f} s")


def _forget_unused(current: Path) -> None:
    limit = time.time() - UNUSED_SECONDS
    for other in current.parent.iterdir():
        if other.is_dir() and other != current and other.stat().st_mtime < limit:
            shutil.rmtree(other, ignore_errors=True)


def _say(line: str) -> None:
    print(f"controlplane: {line}", file=sys.stderr, flush=True)  # noqa: T201  # for a person


if __name__ == "__main__":
    try:
        print(binaries())  # noqa: T201  # the answer
    except BuildError as error:
        sys.exit(f"controlplane: {error}")
