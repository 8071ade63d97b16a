"""The program where a part of its packages is not installed, as in the operator's image."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("kubernetes", "kopf", "pyarrow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
from data_miner.cli.main import main
sys.argv = ["data-miner", *sys.argv[1:]]
main()
"""


def said(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_help_lists_every_command() -> None:
    """A command that cannot run here is in the list, with the reason."""
    code, out, err = said("--help")
    assert (code, err) == (0, "")
    assert "Not here: needs the Python package kubernetes." in out
    assert "worker" in out


def test_a_command_without_its_packages_says_so_in_one_line() -> None:
    """Whatever it is given, it names the package and what to do."""
    for arguments in (["operator", "--metrics-port", "8080"], ["explain", "a/b", "--json"]):
        code, out, err = said(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {arguments[0]} needs the Python package ")
        assert err.count("\n") == 1
