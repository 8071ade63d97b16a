"""What a container runs, and with which environment: from a pod's spec to a process's."""

from __future__ import annotations

import base64
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Fetch = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""Gives a ConfigMap ("configmaps", name) or a Secret ("secrets", name) of the pod's namespace."""

PRODUCT = {
    "data-miner": ["-m", "data_miner.cli.main"],
    "data-miner-worker": ["-m", "data_miner_worker"],
    "worker": ["-m", "data_miner_worker"],
    "python": [],
    "python3": [],
}
"""Programs of the images that are this environment's own interpreter with these arguments."""

_REFERENCE = re.compile(r"\$(\$|\(([^()]+)\))")


class ConfigurationError(Exception):
    """A container cannot be made as it is written; the message is the kubelet's."""


def command(container: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """The process of a container. Without `command` it is the images' entry point, `data-miner`.

    Raises ConfigurationError when there is no such program.
    """
    wanted = [*container.get("command", ["data-miner"]), *container.get("args", [])]
    first, *rest = [expanded(part, environment) for part in wanted]
    name = first.rpartition("/")[2]
    if name in PRODUCT:
        return [sys.executable, *PRODUCT[name], *rest]
    program = shutil.which(first, path=environment.get("PATH"))
    if program is None:
        raise ConfigurationError(f'exec: "{first}": executable file not found in $PATH')
    return [program, *rest]


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value, `$$` a dollar; an unknown name stays as it is."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else environment.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


async def variables(
    container: Mapping[str, Any], pod: Mapping[str, Any], fetch: Fetch
) -> dict[str, str]:
    """The variables that the pod's spec gives a container.

    Raises ConfigurationError for a ConfigMap, a Secret or a key that is not there.
    """
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= await _all_of(source, fetch)
    for variable in container.get("env", ()):
        value = await _value(variable, container, pod, fetch, found)
        if value is not None:
            found[variable["name"]] = value
    return found


async def _all_of(source: Mapping[str, Any], fetch: Fetch) -> dict[str, str]:
    prefix = source.get("prefix", "")
    for kind, plural in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
        if kind in source:
            data = await _data(plural, source[kind], fetch)
            return {f"{prefix}{key}": value for key, value in (data or {}).items()}
    return {}


async def _value(
    variable: Mapping[str, Any],
    container: Mapping[str, Any],
    pod: Mapping[str, Any],
    fetch: Fetch,
    environment: Mapping[str, str],
) -> str | None:
    origin = variable.get("valueFrom")
    if origin is None:
        return expanded(variable.get("value", ""), environment)
    if "fieldRef" in origin:
        return field(pod, origin["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in origin:
        return _resource(container, origin["resourceFieldRef"]["resource"])
    kind, plural = (
        ("secretKeyRef", "secrets")
        if "secretKeyRef" in origin
        else ("configMapKeyRef", "configmaps")
    )
    reference = origin[kind]
    data = await _data(plural, reference, fetch)
    if data is None or reference["key"] not in data:
        if reference.get("optional"):
            return None
        raise ConfigurationError(
            f"couldn't find key {reference['key']} in {plural[:-1]} {reference['name']}"
        )
    return data[reference["key"]]


async def _data(plural: str, reference: Mapping[str, Any], fetch: Fetch) -> dict[str, str] | None:
    found = await fetch(plural, reference["name"])
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigurationError(f'{plural[:-1]} "{reference["name"]}" not found')
    data: dict[str, str] = dict(found.get("data") or {})
    if plural == "secrets":
        data = {key: base64.b64decode(value).decode() for key, value in data.items()}
    return data


def field(pod: Mapping[str, Any], path: str) -> str:
    """A field of a pod by its path, as the downward API gives it; empty when it is not set."""
    keyed = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if keyed:
        return str(pod["metadata"].get(keyed[1], {}).get(keyed[2], ""))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return "" if found is None else str(found)


def _resource(container: Mapping[str, Any], name: str) -> str:
    kind, _, resource = name.partition(".")
    return str(container.get("resources", {}).get(kind, {}).get(resource, "0"))
