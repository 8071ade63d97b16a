"""The CustomResourceDefinition on a real API server."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from data_miner.errors import SpecError
from data_miner.spec import canonical, project_of
from support.controlplane import ControlPlane
from support.crd_cases import ANY_SOURCE, CASES, Case, good, ids
from support.kube_client import APPLY, MERGE, KubeClient, KubeError, access_of
from support.users_cluster import UsersCluster
from support.waiting import eventually

ROOT: Final = Path(__file__).parents[2]
PROJECTS: Final = [
    path
    for path in sorted((ROOT / "examples").glob("*.yaml"))
    if yaml.safe_load(path.read_text("utf-8")).get("kind") == "MiningProject"
]
"""Others are for other programs."""
DEFINITION: Final = ROOT / "crds/data-miner.io_miningprojects.yaml"
NAME: Final = "miningprojects.data-miner.io"
FROM_ANOTHER_FIELD: Final = {"every", "everyFrames", "prompts"}
"""What is absent there follows from a field beside it, which a schema cannot say."""

Plane = ControlPlane | UsersCluster


class Projects:
    """The MiningProjects of one namespace."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.path = f"/apis/data-miner.io/v1alpha1/namespaces/{namespace}/miningprojects"

    def create(self, case: Case, **query: str) -> dict[str, Any]:
        """What the API server made of it. Raises KubeError."""
        body = case.object()
        body["metadata"]["namespace"] = self.namespace
        return self.client.request("POST", self.path, body, fieldValidation="Strict", **query)

    def patch(self, name: str, body: Mapping[str, Any], what: str = "") -> dict[str, Any]:
        """Merge into an object, or into its subresource."""
        return self.client.request("PATCH", f"{self.path}/{name}{what}", body, kind=MERGE)

    def apply_status(self, name: str, manager: str, *conditions: str) -> dict[str, Any]:
        """Conditions of these types from this field manager, server-side."""
        said = [
            {
                "type": kind,
                "status": "True",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "reason": "Seen",
                "message": f"said by {manager}",
            }
            for kind in conditions
        ]
        body = {
            "apiVersion": "data-miner.io/v1alpha1",
            "kind": "MiningProject",
            "metadata": {"name": name},
            "status": {"conditions": said},
        }
        return self.client.request(
            "PATCH", f"{self.path}/{name}/status", body, kind=APPLY, fieldManager=manager
        )


@pytest.fixture(scope="module")
def definition(control_plane: Plane) -> Plane:
    """The cluster, which knows the definition."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={DEFINITION}")
    control_plane.kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=60s")
    return control_plane


@pytest.fixture(scope="module")
def projects(definition: Plane) -> Iterator[Projects]:
    """An empty namespace for projects."""
    namespace = f"crd-{secrets.token_hex(3)}"
    definition.kubectl("create", "namespace", namespace)
    client = KubeClient(access_of(definition.kubeconfig))
    try:
        yield Projects(client, namespace)
    finally:
        client.close()
        definition.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_an_api_server_says_what_the_models_say(projects: Projects, case: Case) -> None:
    """A project of the table is accepted with the defaults of the models, or refused there."""
    if case.refused_at:
        with pytest.raises(KubeError) as caught:
            projects.create(case, dryRun="All")
        assert caught.value.status in (400, 422)
        section = case.refused_at.partition("[")[0]
        assert section in str(caught.value) or 'unknown field "spec.' in str(caught.value)
        return

    stored = projects.create(case, dryRun="All")

    assert canonical(project_of(stored))["spec"] == canonical(project_of(case.object()))["spec"]
    assert_filled_in(stored["spec"], case.spec, canonical(project_of(stored).spec))


def assert_filled_in(stored: Any, sent: Any, wanted: Any) -> None:
    """What was not sent is there as the models' default, and nothing else is; lists are as sent."""
    if isinstance(wanted, dict):
        sent = sent or {}
        assert stored.keys() - wanted.keys() == set()
        assert wanted.keys() - stored.keys() <= FROM_ANOTHER_FIELD
        for key in stored:
            assert_filled_in(stored[key], sent.get(key), wanted[key])
    else:
        assert stored == (wanted if sent is None else without_nulls(sent))


def without_nulls(value: Any) -> Any:
    """The value, with what says nothing left out, as the API server keeps it."""
    if isinstance(value, dict):
        return {key: without_nulls(held) for key, held in value.items() if held is not None}
    return [without_nulls(held) for held in value] if isinstance(value, list) else value


def texts(*parts: str) -> st.SearchStrategy[str]:
    """Texts that are made of these parts."""
    return st.lists(st.sampled_from(parts), max_size=7).map("".join)


NUMBERS: Final = ("0", "1", "24", "3650", "86400000", "999999", "0.5", "1.001", ".", "00.010")
DURATIONS: Final = st.one_of(
    texts(*NUMBERS, "d", "h", "m", "s", "ms", "d", "h", " "),
    st.builds(
        "{}{}{}{}".format,
        st.integers(0, 400_000),
        st.sampled_from(["d", "h", "m", "s", ".5d", ".125h"]),
        st.integers(0, 999),
        st.sampled_from(["h", "s", "ms", ".001s"]),
    ),
)
PLACES: Final = texts("s3://", "gs://", "file://", "ftp://", ":", "/", "..", ".", "a", "/../", "\n")
ADDRESSES: Final = texts("https://", "http://", "//", "@", "a", ":", "/", "?", "#", "\\", " ", "é")
FRACTIONS: Final = st.one_of(st.floats(0, 1), st.sampled_from([0, 1, 0.1, 0.2, 0.7, 0.8]))
SPLITS: Final = st.one_of(
    st.tuples(FRACTIONS, FRACTIONS, FRACTIONS),
    st.builds(
        lambda a, b, off: (a, b, min(max(1 - a - b + off, 0.0), 1.0)),
        st.floats(0, 0.5), st.floats(0, 0.5), st.floats(-2e-6, 2e-6),
    ),
)  # fmt: skip
GUESSES: Final = st.one_of(
    DURATIONS.map(lambda text: good("", sampling={"every": text})),
    st.tuples(DURATIONS, DURATIONS).map(
        lambda two: good("", select={"duration": {"min": two[0], "max": two[1]}})
    ),
    PLACES.map(lambda text: good("", sources=[{"files": {"uri": text}}])),
    ADDRESSES.map(lambda text: good("", sources=[{"urls": {"items": [text]}}])),
    SPLITS.map(lambda s: good("", export={"splits": {"train": s[0], "val": s[1], "test": s[2]}})),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(
        lambda two: good("", dedup={"threshold": two[0]}, export={"splitLinkThreshold": two[1]})
    ),
)


@settings(max_examples=400, deadline=None)
@given(case=GUESSES)
def test_nothing_is_right_for_one_and_wrong_for_the_other(projects: Projects, case: Case) -> None:
    """Whatever is written where a rule has to count or to take apart, both say yes or both no."""
    try:
        project_of(case.object())
        accepted = True
    except SpecError:
        accepted = False

    if accepted:
        assert projects.create(case, dryRun="All")
    else:
        with pytest.raises(KubeError):
            projects.create(case, dryRun="All")


@pytest.mark.parametrize("path", PROJECTS, ids=lambda p: p.stem)
def test_examples_are_accepted(projects: Projects, path: Path) -> None:
    """Each example can be given to a cluster as it is, and means the same there."""
    assert len(PROJECTS) >= 3
    data = yaml.safe_load(path.read_text("utf-8"))

    stored = projects.create(Case("", data["spec"]), dryRun="All")

    assert canonical(project_of(stored).spec) == canonical(project_of(data).spec)


@pytest.mark.parametrize("path", PROJECTS, ids=lambda p: p.stem)
def test_an_unchanged_file_is_called_unchanged(
    projects: Projects, definition: Plane, path: Path
) -> None:
    """`kubectl apply` of what is there says so: the API server filled in nothing that it would
    compare with the file."""
    apply = ("apply", f"--namespace={projects.namespace}", f"--filename={path}")
    definition.kubectl(*apply)

    again = definition.kubectl(*apply)

    assert again.split()[-1] == "unchanged"
    definition.kubectl("delete", f"--namespace={projects.namespace}", f"--filename={path}")


def test_the_definition_is_structural_and_its_names_are_taken(definition: Plane) -> None:
    """The server finds nothing to complain about."""
    found = definition.kubectl.json("get", "crd", NAME)
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}

    assert conditions == {"Established": "True", "NamesAccepted": "True"}


def test_a_place_cannot_change_once_it_is_set(projects: Projects) -> None:
    """The place of a dataset may be said later, and after that it is neither changed nor left."""
    projects.create(good("", export={}))
    projects.patch("doors", {"spec": {"export": {"uri": "s3://a/b"}}})
    for other in ({"export": {"uri": "s3://a/c"}}, {"export": {"uri": None}}, {"export": None}):
        with pytest.raises(KubeError, match=r"spec\.export\.uri.*cannot change once it is set"):
            projects.patch("doors", {"spec": other})

    edited = projects.patch("doors", {"spec": {"priority": 5, "export": {"uri": "s3://a/b"}}})

    assert edited["spec"]["export"]["uri"] == "s3://a/b"
    projects.client.request("DELETE", f"{projects.path}/doors")


def test_spec_and_status_have_their_own_doors(projects: Projects) -> None:
    """An edit of one through the other's door changes nothing; only the spec's counts up."""
    projects.create(Case("", {"sources": [ANY_SOURCE]}, metadata={"name": "doors-2"}))
    status = {"phase": "Mining", "images": {"kept": 4}}

    through_spec = projects.patch("doors-2", {"status": status})
    through_status = projects.patch("doors-2", {"spec": {"weight": 9}, "status": status}, "/status")
    edited = projects.patch("doors-2", {"spec": {"weight": 8}})

    assert "status" not in through_spec
    assert through_status["spec"]["weight"] == 1
    assert through_status["status"] == status
    assert through_status["metadata"]["generation"] == 1
    assert edited["metadata"]["generation"] == 2
    assert edited["status"] == status


def test_conditions_of_two_writers_merge(projects: Projects) -> None:
    """Each field manager owns its conditions, and leaves the other's alone."""
    projects.create(Case("", {"sources": [ANY_SOURCE]}, metadata={"name": "doors-3"}))
    projects.apply_status("doors-3", "one", "Ready", "Complete")
    projects.apply_status("doors-3", "two", "Audited")

    after = projects.apply_status("doors-3", "one", "Ready")

    said = {c["type"]: c["message"] for c in after["status"]["conditions"]}
    assert said == {"Ready": "said by one", "Audited": "said by two"}


def test_a_status_that_is_none_is_refused(projects: Projects) -> None:
    """A field that the definition does not know cannot be written."""
    projects.create(Case("", {"sources": [ANY_SOURCE]}, metadata={"name": "doors-4"}))

    wrongs: tuple[Any, ...] = (
        {"progress": 101},
        {"dataset": {"digest": "x"}},
        {"conditions": [{}]},
    )
    for wrong in wrongs:
        with pytest.raises(KubeError) as caught:
            projects.patch("doors-4", {"status": wrong}, "/status")
        assert caught.value.status == 422


def test_a_listing_fits_a_terminal(projects: Projects, definition: Plane) -> None:
    """`kubectl get mp` says in 120 columns how far a project is."""
    case = Case("", {"sources": [ANY_SOURCE], "target": {"images": 5000}})
    projects.create(Case("", case.spec, metadata={"name": "glass-doors"}))
    status = {
        "phase": "Mining", "reason": "WorkersUnschedulable", "progress": 42,
        "images": {"kept": 2100}, "eta": "2026-11-21T18:00:00Z",
    }  # fmt: skip
    projects.patch("glass-doors", {"status": status}, "/status")

    text = definition.kubectl("get", "mp", "glass-doors", f"--namespace={projects.namespace}")
    head, row = text.splitlines()

    assert head.split() == ["NAME", "PHASE", "IMAGES", "TARGET", "DONE%", "ETA", "REASON", "AGE"]
    assert row.split()[:-1] == [
        "glass-doors", "Mining", "2100", "5000", "42", "2026-11-21T18:00:00Z",
        "WorkersUnschedulable",
    ]  # fmt: skip
    assert max(len(head), len(row)) <= 120


def test_projects_are_in_no_listing_of_everything(definition: Plane) -> None:
    """`kubectl get all` does not ask for projects; `kubectl get data-miner` does."""
    groups = definition.kubectl.json("get", "crd", NAME)["spec"]["names"]

    assert groups["categories"] == ["data-miner"]
    assert groups["shortNames"] == ["mp"]


def sections(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object of the schema, as `kubectl explain` names it, with its fields."""
    while schema["type"] == "array":
        schema = schema["items"]
    if "properties" in schema:
        yield path, schema["properties"]
        for name, field in schema["properties"].items():
            yield from sections(field, f"{path}.{name}")


def test_every_field_is_explained(definition: Plane) -> None:
    """`kubectl explain` says of every field of spec and status what it means."""
    version = yaml.safe_load(DEFINITION.read_text("utf-8"))["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]["properties"]
    kubectl = definition.kubectl
    eventually(
        lambda: kubectl.run("explain", "mp.spec").returncode == 0,
        seconds=60,
        what="the schema is published",
    )
    for part in ("spec", "status"):
        for path, fields in sections(schema[part], f"mp.{part}"):
            said = kubectl("explain", path)
            for name, field in fields.items():
                found = re.search(rf"\n  {name}\t<[^\n]*\n(.*?)\n(\n|$)", said, re.DOTALL)
                assert found, f"{path}.{name}"
                words = " ".join(found[1].split())
                wanted = " ".join(str(field["description"]).split())
                assert words.endswith(wanted), f"{path}.{name}: {words}"
