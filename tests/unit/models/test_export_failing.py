"""What the exporter says of errors: one line, and no secret in it."""

from __future__ import annotations

import pytest

from data_miner_export.failing import hub_token, may_pass, said, step
from data_miner_models.errors import ModelError, PassingError

TOKEN = "own/mirror's#token"


class OwnError(Exception):
    """Under no class but the first, as those of ONNX Runtime and safetensors."""


@pytest.mark.parametrize(
    "words",
    [
        f"Illegal header value b'Bearer {TOKEN}\\n'",
        "Illegal header value b'Bearer other\\x00token\\n'",
        f"{'x' * 290} {TOKEN}",
        "403 for http://cdn/file?Expires=1&Signature=TOKEN&Policy=1",
    ],
)
def test_an_error_is_said_without_what_gives_access(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """However it is quoted, also where the line is cut, and if the Secret ends with a line."""
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\n")
    assert hub_token() == TOKEN
    said_of_it = said(OwnError(words))
    assert "token" not in said_of_it.lower()
    assert "own/" not in said_of_it


@pytest.mark.parametrize("empty", ["", " \r\n"])
def test_a_token_of_nothing_is_none(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    """Then the hub is asked without one."""
    monkeypatch.setenv("HF_TOKEN", empty)
    assert hub_token() is None


def test_an_error_of_any_kind_is_one_line() -> None:
    """What is known to be wrong keeps its own words and class."""
    with pytest.raises(ModelError) as wrong, step("image cannot be compared"):
        raise OwnError("first line\n  second\n")
    assert str(wrong.value) == "image cannot be compared: first line second"
    with pytest.raises(PassingError) as asleep, step("image cannot be compared"):
        raise PassingError("the hub is asleep")
    assert str(asleep.value) == "the hub is asleep"


def test_what_may_go_well_later_is_found_below_what_was_made_of_it() -> None:
    """A library wraps what the network said; a refusal is final, and so is a full disk."""
    wrapped = ModelError("cannot publish")
    wrapped.__cause__ = OSError("put")
    wrapped.__cause__.__cause__ = ConnectionResetError()
    assert may_pass(wrapped)
    assert not may_pass(PermissionError(13, "denied"))
    assert not may_pass(OSError(28, "No space left on device"))
