"""The command line of the real cluster: `scripts/cluster` without arguments says what there is."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from support import realnode_host as host
from support import realnode_up
from support.go_programs import BuildError

USAGE = """scripts/cluster up                a control plane and two nodes; prints their kubeconfig
scripts/cluster status            what runs, and what the nodes say
scripts/cluster load IMAGE.tar…   give images to both nodes (archives as docker save writes them)
scripts/cluster down              take it away; the host is as it was before"""


def main(arguments: Sequence[str]) -> int:
    """0 when it was done, 1 when it could not be, 2 for a command that there is not."""
    try:
        match arguments:
            case ["up"]:
                _print(str(realnode_up.up(say=_say).kubeconfig))
            case ["down"]:
                realnode_up.down()
            case ["status"]:
                return _status()
            case ["load", first, *more]:
                archives = [Path(archive) for archive in (first, *more)]
                _print(*realnode_up.load(realnode_up.state_folder(), archives))
            case _:
                _say(USAGE)
                return 2
    except (host.HostError, BuildError, AssertionError) as error:
        _say(f"cluster: {error}")
        return 1
    return 0


def _status() -> int:
    """Prints a line for each machine and for what runs on it; 1 when the cluster is not up."""
    state = realnode_up.state_folder()
    for own in host.machines(state):
        names = {Path(c[0]).name for c in host.processes_of(own).values() if c}
        held = sorted(file.name for file in own.hold.glob("*"))
        shown = ", ".join(sorted(names & set(own.programs))) or "off"
        _print(f"{own.name:8} {shown}{f' (stopped: {chr(44).join(held)})' if held else ''}")
    if not realnode_up.is_up(state):
        _print("the cluster is down")
        return 1
    _print(realnode_up.kubectl_of(state)("get", "nodes", "--output=wide").rstrip())
    return 0


def _print(*lines: str) -> None:
    for line in lines:
        print(line)  # noqa: T201  # the answer


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # for a person


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads may stop
    sys.exit(main(sys.argv[1:]))
