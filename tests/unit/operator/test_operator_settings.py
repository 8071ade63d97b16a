"""Settings, credentials and rights: what cannot be is refused in one line."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from data_miner.errors import SpecError
from data_miner_operator import rbac
from data_miner_operator.config import PREFIX, OperatorSettings
from data_miner_operator.credentials import Credentials, parse


def test_nothing_set_serves_the_whole_cluster_with_the_times_of_client_go() -> None:
    found = OperatorSettings.from_environment({"DATA_MINER_OPERATOR_NAMESPACES": ""})

    assert found.served == ()
    times = found.times
    assert (times.duration_seconds, times.deadline_seconds, times.retry_seconds) == (15, 10, 2)


def test_namespaces_are_separated_by_commas() -> None:
    found = OperatorSettings.from_environment({"DATA_MINER_OPERATOR_NAMESPACES": "a, b,a,"})

    assert found.served == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORKERS", "many", "expected a number"),
        ("WORKERS", "0", "greater than 0"),
        ("WORKERS", "100", "1 to 64"),
        ("LEASE_SECONDS", "5", "less than the next"),
        ("NAMESPACES", "Team_A", "no name of a namespace"),
        ("RESYNC_SECONDS", "inf", "expected a number"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        OperatorSettings.from_environment({f"DATA_MINER_OPERATOR_{name}": value})


def test_every_setting_is_in_the_list_of_settings_with_its_default() -> None:
    text = (Path(__file__).parents[3] / "docs/cli.md").read_text()
    rows = dict(re.findall(rf"^\| `{PREFIX}(\w+)` \| ([^|]+) \|", text, re.MULTILINE))

    assert list(rows) == [field.name.upper() for field in fields(OperatorSettings)]
    for field in fields(OperatorSettings):
        if field.default != "":
            assert rows[field.name.upper()].strip("`") == str(field.default)


def test_credentials_are_names_with_the_namespaces_that_may_use_them() -> None:
    assert parse("youtube: [a, b]\nopen: []\nbare:\n", "file") == {
        "youtube": frozenset({"a", "b"}),
        "open": frozenset(),
        "bare": frozenset(),
    }


@pytest.mark.parametrize("text", ["[a]", "a: b", "a: [1]", "1: []", "a: [", "a:\n\tb"])
def test_a_list_of_credentials_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"^file: "):
        parse(text, "file")


def test_a_list_that_changes_is_read_again_and_a_broken_one_changes_nothing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "credentials.yaml"
    file.write_text("a: []\n")
    credentials = Credentials(file)
    assert set(credentials.read() or ()) == {"a"}

    file.write_text("a: []\nbc: []\n")
    assert set(credentials.read() or ()) == {"a", "bc"}
    file.write_text("nonsense and no more")
    assert set(credentials.read() or ()) == {"a", "bc"}
    file.unlink()
    assert set(credentials.read() or ()) == {"a", "bc"}


def test_a_list_that_is_not_there_at_the_start_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        Credentials(tmp_path / "nothing")


def test_without_a_list_nothing_is_checked() -> None:
    assert Credentials(None).read() is None


def test_no_right_is_a_wildcard_and_none_reaches_secrets() -> None:
    rules = [
        rule
        for found in (*rbac.render("own"), *rbac.render("own", ["a"]))
        for rule in found.get("rules", ())
    ]

    said = {word for rule in rules for field in rule.values() for word in field}
    assert not said & {"*", "secrets", "configmaps", "customresourcedefinitions", "pods/exec"}
    assert "escalate" not in said


def test_for_named_namespaces_nothing_of_the_cluster_is_granted() -> None:
    kinds = {(found["kind"], found["metadata"].get("namespace")) for found in rbac.render("o", "a")}

    assert kinds == {
        ("ServiceAccount", "o"),
        ("Role", "o"),
        ("RoleBinding", "o"),
        ("Role", "a"),
        ("RoleBinding", "a"),
    }
