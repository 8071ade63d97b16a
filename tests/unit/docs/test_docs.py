"""What the documents say is there."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from data_miner import configuration, errors, models
from data_miner.cli.main import COMMANDS, COMMANDS_GROUP, EXIT_INTERRUPTED, app
from data_miner.compiler import compile_project
from data_miner.model_stores import ModelStores
from data_miner.models import model_lookup
from data_miner.settings import PREFIX, Settings
from data_miner.spec import MiningProject
from data_miner_models.command import EXIT_AGAIN, EXIT_MODEL
from data_miner_operator import metrics_reference

ROOT = Path(__file__).parents[3]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def documents() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return [name for name in listed if (ROOT / name).is_file()]


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken_links(name: str) -> list[str]:
    """Relative links of a document whose file or heading is not there."""
    wrong = []
    for target in LINK.findall(FENCE.sub("", read(name))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M) if anchor else []
        if not file.exists() or (anchor and anchor not in map(slug, headings)):
            wrong.append(f"{name}: {target}")
    return wrong


def commands(group: Any, before: str = "data-miner") -> list[str]:
    """Every command that a person can type."""
    found: list[str] = []
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        inner = hasattr(command, "list_commands")
        found += commands(command, f"{before} {name}") if inner else [f"{before} {name}"]
    return found


def test_every_relative_link_leads_somewhere() -> None:
    """No document links to a file or heading that is not there."""
    names = documents()
    assert {"README.md", "docs/cli.md", "docs/project-tutorial.md"} <= set(names)
    assert [link for name in names for link in broken_links(name)] == []


def test_the_tree_of_the_readme_is_there() -> None:
    """Every path at the beginning of a line of the README's tree exists."""
    tree = re.search(r"## What is where\n\n```\n(.*?)```", read("README.md"), re.DOTALL)
    assert tree
    paths, above = [], Path()
    for line in tree[1].splitlines():
        entries = re.split(r"  +", line.strip())[0].split()
        if not line.startswith(" "):
            above = Path()
        paths += [above / entry for entry in entries]
        if not line.startswith(" "):
            above = Path(entries[0])
    assert len(paths) > 15
    assert [str(path) for path in paths if not (ROOT / path).exists()] == []


def test_every_command_is_in_the_list_of_commands() -> None:
    """docs/cli.md has a row for each command, those of other packages too, and for no other."""
    rows = re.findall(r"^\| `(data-miner [a-z]+(?: [a-z]+)?)", read("docs/cli.md"), re.MULTILINE)
    there = commands(typer.main.get_group(app))
    assert len(there) > len(COMMANDS) + len(entry_points(group=COMMANDS_GROUP)) - 2
    assert sorted(rows) == sorted(there)


def test_every_exit_code_is_in_the_list_of_exit_codes() -> None:
    """docs/cli.md has a row for each code that the program ends with, and for no other."""
    kinds = [*vars(errors).values(), *vars(models).values()]
    codes = {
        kind.exit_code
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, errors.DataMinerError)
    }
    rows = re.findall(r"^\| (\d+) \|", read("docs/cli.md"), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted({0, EXIT_AGAIN, EXIT_MODEL, EXIT_INTERRUPTED} | codes)


def test_every_option_and_argument_has_a_help_text() -> None:
    """`--help` explains all that a command takes."""
    group: Any = typer.main.get_group(app)
    silent = []
    for typed in commands(group):
        command = group
        for name in typed.split()[1:]:
            command = command.get_command(None, name)
        assert command.help, typed
        silent += [f"{typed} {p.name}" for p in command.params if not getattr(p, "help", None)]
    assert silent == []


def test_the_list_of_settings_is_up_to_date() -> None:
    """docs/configuration.md is what the code says; `make generate` writes it."""
    assert read("docs/configuration.md") == configuration.render()


def test_the_list_of_metrics_is_up_to_date() -> None:
    """docs/reference/metrics.md is what the code declares; `make generate` writes it."""
    assert read("docs/reference/metrics.md") == metrics_reference.render()


def test_every_setting_is_explained() -> None:
    """Each field of Settings has a text below it, and a row in the list."""
    names = [field.name for field in fields(Settings)]
    assert list(configuration.docstrings()) == names
    assert re.findall(rf"^\| `{PREFIX}(\w+)`", configuration.render(), re.MULTILINE) == [
        name.upper() for name in names
    ]


@pytest.mark.parametrize("edit", [("", ""), ("a photo of a star", "a photo of a ring")])
def test_the_project_of_the_tutorial_compiles(edit: tuple[str, str]) -> None:
    """Its YAML is valid and names models that are installed, before and after its edit."""
    block = re.search(r"```yaml\n(.*?)```", read("docs/project-tutorial.md"), re.DOTALL)
    assert block
    assert edit[0] in block[1]
    project = MiningProject.model_validate(yaml.safe_load(block[1].replace(*edit)))
    assert len(compile_project(project.spec, model_lookup(ModelStores()))) > 5
