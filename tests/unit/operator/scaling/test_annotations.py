"""What the annotations of a pool come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner.pipeline import NAMES, POOLS
from data_miner_operator.scaling.annotations import NUMBERS, PREFIX, Autoscaler, parse
from support.scaling import spec


def test_a_deployment_without_annotations_is_a_pool_of_at_most_one_worker_for_every_stage() -> None:
    plain = parse("all", {})

    assert (plain.stages, plain.slots, plain.min_replicas, plain.max_replicas) == (NAMES, 1, 0, 1)
    assert plain.autoscaler is Autoscaler.OPERATOR
    assert plain.problems == ()


def test_every_number_is_taken_as_it_stands() -> None:
    said = parse("all", {PREFIX + n.name: str(n.most) for n in NUMBERS})

    assert said.problems == ()
    assert (said.slots, said.max_replicas, said.idle_seconds) == (64, 1000, 86_400)


@pytest.mark.parametrize(
    ("given_stages", "stages"),
    [
        ("default", NAMES),
        ("gpu", POOLS["gpu"]),
        ("cpu", POOLS["cpu"]),
        ("filter, download", ("download", "filter")),
        ("embed", ("embed",)),
    ],
)
def test_stages_are_a_group_or_names_in_the_order_of_the_pipeline(
    given_stages: str, stages: tuple[str, ...]
) -> None:
    assert spec(stages=given_stages).stages == stages


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"slots": "two"}, '/slots: "two" is no whole number from 1 to 64: 1 counts'),
        ({"slots": "0"}, '/slots: "0" is no whole number from 1 to 64: 1 counts'),
        ({"slots": "-1"}, '"-1"'),
        ({"max_replicas": "1001"}, '"1001"'),
        ({"max_replicas": "9" * 5000}, '"999'),
        ({"idle_seconds": ""}, '""'),
        ({"idle_seconds": "٣"}, "no whole number"),
        ({"stages": "download, cook"}, '/stages: "cook" is neither default, cpu, gpu nor a stage'),
        ({"stages": " , "}, "it is empty"),
        ({"autoscaler": "vpa"}, '/autoscaler: "vpa" is none of operator, hpa, keda, none'),
        ({"min_replicas": "3", "max_replicas": "2"}, "3 is above max-replicas: 2 counts"),
        ({"warm_replicas": "3", "max_replicas": "2"}, "3 is above max-replicas: 2 counts"),
        ({"stages": "http://u:secret@h\nx"}, "***@h x"),
    ],
)
def test_a_mistake_is_named_on_one_line_and_its_default_counts(
    said: dict[str, str], problem: str
) -> None:
    (found,) = spec(**said).problems

    assert problem in found
    assert found.startswith(PREFIX)
    assert len(found) < 200
    assert found.isprintable()


def test_a_mistaken_autoscaler_keeps_the_operators_hands_off() -> None:
    assert spec(autoscaler="Hpa").autoscaler is Autoscaler.NONE


@given(st.dictionaries(st.sampled_from([n.name for n in NUMBERS] + ["stages"]), st.text()))
def test_whatever_the_annotations_say_the_pool_is_within_its_bounds(said: dict[str, str]) -> None:
    found = parse("all", {PREFIX + name: value for name, value in said.items()})

    assert 0 <= found.min_replicas <= found.max_replicas <= 1000
    assert 0 <= found.warm_replicas <= found.max_replicas
    assert found.slots >= 1
    assert found.stages
