"""What an object asks for outside of its spec."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner_operator.reconcile.asked import asked
from support.reconciling import an_object

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def test_a_plain_object_asks_for_nothing_special() -> None:
    """Its uid, generation and version are read."""
    wish = asked(an_object(generation=3))
    assert (wish.uid, wish.generation, wish.resource_version) == ("uid-1", 3, "1003")
    wishes = (wish.deleting, wish.disabled, wish.adopt, wish.suspend, wish.keeps)
    assert not any(wishes)
    assert wish.retry_token == ""


def test_annotations_are_read_whatever_their_case() -> None:
    """`Disabled` with a space is meant as `disabled`."""
    wish = asked(an_object(annotations={"reconcile": " Disabled", "adopt": "True"}))
    assert wish.disabled
    assert wish.adopt


@pytest.mark.parametrize("value", ["enabled", "", "no"])
def test_only_the_word_itself_disables(value: str) -> None:
    """Anything else leaves the project in care."""
    assert not asked(an_object(annotations={"reconcile": value, "adopt": value})).disabled


def test_suspend_and_retain_are_read_from_a_spec_that_is_not_valid() -> None:
    """They are honoured whatever else the spec says."""
    wish = asked(an_object(spec={"suspend": True, "deletionPolicy": "Retain", "nonsense": 1}))
    assert wish.suspend
    assert wish.keeps
    assert not asked(an_object(spec={"suspend": "true"})).suspend


def test_a_usual_token_stays_as_it_is() -> None:
    """A time, a number, a word."""
    for token in ("2026-11-21T12:00:00Z", "7", "again_2"):
        assert asked(an_object(annotations={"retry-failed": f" {token} "})).retry_token == token


@given(st.text(max_size=300))
def test_a_token_is_short_and_harmless(text: str) -> None:
    """A long or odd one is known by its digest: it is kept in a row and shown."""
    token = asked(an_object(annotations={"retry-failed": text})).retry_token
    assert len(token) <= 64
    assert token.isascii()
    assert bool(token) == bool(text.strip())


def test_two_long_tokens_are_two() -> None:
    """A digest tells them apart."""
    one, other = (
        asked(an_object(annotations={"retry-failed": "x" * 100 + end})).retry_token for end in "ab"
    )
    assert one != other
    assert one.startswith("sha256:")


def test_a_deletion_timestamp_means_that_it_goes() -> None:
    """Somebody else's finalizer may still hold it."""
    assert asked(an_object(deletionTimestamp="2026-11-21T12:00:00Z")).deleting


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), JSON))
def test_nothing_in_an_object_upsets_the_reader(obj: dict[str, Any]) -> None:
    """What cannot be understood is not asked for."""
    assert not asked(obj).disabled
