"""From a YAML file or text to MiningProjects. All that is wrong with a file is said at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from data_miner.errors import SpecError
from data_miner.spec.messages import Problem, problems
from data_miner.spec.project import API_VERSION, KIND, MiningProject
from data_miner.spec.yaml_text import MAX_BYTES, Node, read_documents

_SERVER_METADATA: Final = frozenset((
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers",
    "generation", "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid",
))  # fmt: skip
"""What a Kubernetes API server adds: a file that `kubectl get -o yaml` wrote loads as well."""


def load_project(path_or_text: str | Path) -> MiningProject:
    """The one MiningProject of a YAML file or text.

    A string with a line break, or one that starts with ``{``, is the text itself; any other is the
    path of a file. Relative paths in it come out as they are. Raises SpecError with a line for
    each thing that is wrong.
    """
    projects = load_projects(path_or_text)
    if len(projects) > 1:
        names = ", ".join(p.metadata.name for p in projects)
        raise SpecError(f"{_source(path_or_text)[1]}: holds {len(projects)} projects ({names}); "
                        "one is wanted: put each in its own file")  # fmt: skip
    return projects[0]


def load_projects(path_or_text: str | Path) -> tuple[MiningProject, ...]:
    """Every MiningProject of a YAML file or text with documents between ``---``; at least one.

    Otherwise as `load_project`.
    """
    text, name = _source(path_or_text)
    documents = read_documents(text, name)
    if not documents:
        raise SpecError(f"{name}: is empty; it must hold a {KIND} of {API_VERSION}")
    lines: list[str] = []
    projects: list[MiningProject] = []
    for node in documents:
        try:
            projects.append(_validated(node))
        except _WrongError as error:
            placed = [(node.find(p.path)[0].line, p) for p in error.found]
            placed.sort(key=lambda at: at[0])
            lines += [f"{name}:{line}: {problem}" for line, problem in placed]
    lines += _same_names(projects, name)
    if lines:
        raise SpecError("\n".join(lines))
    return tuple(projects)


def project_from(data: Any, where: str = "project") -> MiningProject:
    """The MiningProject that plain data describes, such as an object from Kubernetes.

    Raises SpecError with a line for each thing that is wrong, each starting with `where`.
    """
    try:
        return _validated_data(data, None)
    except _WrongError as error:
        raise SpecError("\n".join(f"{where}: {p}" for p in error.found)) from None


def project_of(obj: Mapping[str, Any]) -> MiningProject:
    """The MiningProject that an object of a Kubernetes API server describes.

    Of its metadata only the name and the namespace count: labels and annotations were judged by
    the server, whose limits are wider than those for a file. Raises SpecError with a line for each
    thing that is wrong in `spec`, each starting with its path.
    """
    metadata = obj.get("metadata")
    data: dict[str, Any] = {key: obj.get(key) for key in ("apiVersion", "kind", "spec")}
    if isinstance(metadata, Mapping):
        data["metadata"] = {k: metadata[k] for k in ("name", "namespace") if k in metadata}
    try:
        return _validated_data(data, None)
    except _WrongError as error:
        raise SpecError("\n".join(str(p) for p in error.found)) from None


class _WrongError(Exception):
    def __init__(self, found: tuple[Problem, ...]) -> None:
        super().__init__(found)
        self.found = found


def _validated(node: Node) -> MiningProject:
    return _validated_data(node.plain(), node)


def _validated_data(data: Any, node: Node | None) -> MiningProject:
    if not isinstance(data, dict):
        raise _WrongError((Problem((), f"must be a {KIND}: keys such as apiVersion: and kind:"),))
    # Of another kind of object every key would be wrong: only what it is gets said.
    wrong_kind = tuple(
        Problem((key,), f"{_got(data.get(key))}; must be {wanted}")
        for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND))
        if data.get(key) != wanted
    )
    if wrong_kind:
        raise _WrongError(wrong_kind)
    try:
        # By alias only: a snake_case key would be unknown to Kubernetes.
        return MiningProject.model_validate(
            _without_server_keys(data), by_alias=True, by_name=False
        )
    except ValidationError as error:
        raise _WrongError(problems(error, node)) from None


def _got(value: Any) -> str:
    if value is None:
        return "is missing"
    return f"got {value if isinstance(value, str | int | float) else 'something else'}"


def _without_server_keys(data: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in data.items() if k != "status"}
    if isinstance(metadata := data.get("metadata"), dict):
        kept["metadata"] = {k: v for k, v in metadata.items() if k not in _SERVER_METADATA}
    return kept


def _same_names(projects: list[MiningProject], name: str) -> list[str]:
    names = [f"{p.metadata.namespace}/{p.metadata.name}" for p in projects]
    return [f"{name}: holds {n} twice" for n in dict.fromkeys(names) if names.count(n) > 1]


def _source(path_or_text: str | Path) -> tuple[str, str]:
    """The text, and what messages call it."""
    if isinstance(path_or_text, str) and ("\n" in path_or_text or path_or_text[:1] == "{"):
        return path_or_text, "project"
    path = Path(path_or_text)
    if not str(path_or_text) or "\0" in str(path_or_text):
        raise SpecError("no file: give the path of a project file")
    try:
        if path.is_dir():
            raise SpecError(f"{path}: is a folder; give the path of a project file in it")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        # A cut-off text may end in the middle of a character.
        errors = "strict" if len(raw) <= MAX_BYTES else "replace"
        return raw.decode("utf-8-sig", errors), str(path)
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    except FileNotFoundError:
        raise SpecError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
