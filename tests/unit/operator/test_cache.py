"""What is known of the cluster, whatever order it is told in."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from data_miner_operator.api import PODS, PROJECTS
from data_miner_operator.cache import Cache

KEY = ("team", "demo")


def _object(version: int, uid: str = "u1", name: str = "demo", **more: Any) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, **more}


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache = Cache()

    assert cache.put(PROJECTS, _object(7, spec=2))
    assert not cache.put(PROJECTS, _object(5, spec=1))
    assert not cache.put(PROJECTS, _object(7, spec=2))

    found = cache.get(PROJECTS, KEY)
    assert found is not None
    assert found["spec"] == 2


def test_a_late_event_does_not_bring_a_deleted_object_back() -> None:
    cache = Cache()
    cache.put(PROJECTS, _object(5))

    assert cache.remove(PROJECTS, _object(9))
    assert not cache.put(PROJECTS, _object(7))
    assert not cache.put(PROJECTS, _object(12))  # of the same uid: deleted is deleted

    assert cache.get(PROJECTS, KEY) is None


def test_a_new_object_of_a_deleted_ones_name_is_there_and_outlives_the_late_deletion() -> None:
    cache = Cache()
    cache.put(PROJECTS, _object(5))

    assert cache.put(PROJECTS, _object(11, uid="u2"))
    assert not cache.remove(PROJECTS, _object(9))

    found = cache.get(PROJECTS, KEY)
    assert found is not None
    assert found["metadata"]["uid"] == "u2"


def test_a_list_says_what_has_vanished_and_what_is_new() -> None:
    cache = Cache()
    cache.put(PROJECTS, _object(1, name="gone"))
    cache.put(PROJECTS, _object(2, name="same"))
    mark = cache.mark()

    news = cache.replace(PROJECTS, None, [_object(2, name="same"), _object(3, name="new")], mark)

    assert news == {("team", "gone"), ("team", "new")}
    assert set(cache.all(PROJECTS)) == {("team", "same"), ("team", "new")}


def test_what_was_told_while_a_list_was_under_way_stays() -> None:
    cache = Cache()
    cache.put(PROJECTS, _object(1, name="old"))
    mark = cache.mark()
    cache.put(PROJECTS, _object(5, name="made"))
    cache.remove(PROJECTS, _object(6, name="old"))

    news = cache.replace(PROJECTS, None, [_object(1, name="old")], mark)

    assert news == set()
    assert set(cache.all(PROJECTS)) == {("team", "made")}


def test_a_list_of_one_namespace_leaves_the_others_alone() -> None:
    cache = Cache()
    other = {"metadata": {"namespace": "b", "name": "x", "uid": "b1", "resourceVersion": "1"}}
    cache.put(PODS, other)
    cache.put(PODS, _object(2))

    assert cache.replace(PODS, "team", [], cache.mark()) == {KEY}
    assert set(cache.all(PODS)) == {("b", "x")}


def test_what_nobody_reads_is_not_kept() -> None:
    cache = Cache()
    told = _object(1)
    told["metadata"]["managedFields"] = [{"manager": "kubectl"}]

    cache.put(PROJECTS, told)

    found = cache.get(PROJECTS, KEY)
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert "managedFields" in told["metadata"]


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=8))
def test_events_in_any_order_and_twice_end_where_they_would_have_in_order(
    order: list[int], again: list[int]
) -> None:
    """Made, changed, deleted, made anew and changed: eight events with rising versions."""
    kinds = ["put", "put", "put", "remove", "put", "put", "remove", "put"]
    uids = ["u1", "u1", "u1", "u1", "u2", "u2", "u2", "u3"]
    cache = Cache()

    for at in [*order, *again]:
        told = _object(100 + at, uid=uids[at], spec=at)
        take = cache.put if kinds[at] == "put" else cache.remove
        take(PROJECTS, told)

    found = cache.get(PROJECTS, KEY)
    assert found is not None
    assert found["spec"] == 7
