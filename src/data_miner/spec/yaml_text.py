"""YAML as data-miner reads it: plain data only, every value with its line, nothing surprising.

It reads what a Kubernetes client reads, less what misleads: no tags, no merge keys, no key twice,
no number that two parsers take for two values (010, 1:30 stay text), and no text that grows
beyond bounds when its aliases are written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

import yaml

from data_miner.errors import SpecError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 50_000

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?|[-+]?\.[0-9]+")
_TRUE: Final = frozenset(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"))
_FALSE: Final = frozenset(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"))
_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a YAML text and where it stands."""

    value: str | int | float | bool | list[Node] | dict[str, Node] | None
    line: int
    """Counted from 1. Of a mapping's value it is the line of its key."""
    text: str | None = None
    """What was written, of a value without quotes that is no string; None of any other."""
    size: int = 1
    """Values in it when every alias is written out, itself included."""

    def plain(self) -> Any:
        """The data alone."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value

    def find(self, path: tuple[str | int, ...]) -> tuple[Node, bool]:
        """The value at a path, or the innermost one around it, and whether it is the very one."""
        node = self
        for step in path:
            inner = node.value
            if isinstance(inner, dict) and step in inner:
                node = inner[str(step)]
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                node = inner[step]
            else:
                return node, False
        return node, True


def read_documents(text: str, name: str) -> list[Node]:
    """Every document of a YAML text that holds something.

    `name` says in messages where the text is from. Raises SpecError, one line.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise SpecError(f"{name}: is larger than 1 MiB; put long lists of videos into urls.file")
    reader = _Reader(name, yaml.parse(text, Loader=yaml.SafeLoader))
    try:
        return [node for node in reader.documents() if node.value is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SpecError(f"{name}:{line}: is not YAML: {_one_line(error.problem)}") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{name}: is not YAML: {_one_line(str(error))}") from None


def _one_line(text: str | None) -> str:
    return " ".join((text or "cannot be read").split())


class _Reader:
    """Builds nodes from the parser's events; the anchors are those of one document."""

    def __init__(self, name: str, events: Iterator[yaml.Event]) -> None:
        self._name = name
        self._events = events
        self._anchors: dict[str, Node] = {}

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                yield self._node(next(self._events), 0)

    def _refuse(self, event: yaml.Event, problem: str) -> NoReturn:
        raise SpecError(f"{self._name}:{_line(event)}: {problem}")

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            # An anchor counts once its value is complete, so nothing can hold itself.
            if event.anchor not in self._anchors:
                self._refuse(event, f"*{event.anchor} stands for nothing: no such anchor above")
            return replace(self._anchors[event.anchor], line=_line(event))
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self._refuse(event, f"tags are not allowed: remove {tag}")
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._list(event, depth)
        else:
            node = self._mapping(event, depth)
        if node.size > MAX_VALUES:
            self._refuse(event, f"holds more than {MAX_VALUES} values once aliases are written out")
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _text(self, event: yaml.ScalarEvent) -> str:
        text: str = event.value
        try:
            # JSON writes what is beyond 16 bits as a pair of escapes, which YAML leaves apart.
            if _SURROGATES.search(text):
                text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self._refuse(event, "holds half a surrogate pair, which is no character")
        if "\0" in text:  # PostgreSQL cannot hold it.
            self._refuse(event, "holds a NUL character")
        return text

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        text = self._text(event)
        value = _resolve(text) if event.implicit[0] else text
        return Node(value, _line(event), None if isinstance(value, str) else text)

    def _list(self, event: yaml.Event, depth: int) -> Node:
        items: list[Node] = []
        size = 1
        while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(inner, depth + 1))
            size += items[-1].size
        return Node(items, _line(event), size=size)

    def _mapping(self, event: yaml.Event, depth: int) -> Node:
        items: dict[str, Node] = {}
        size = 1
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent) or key.tag is not None:
                self._refuse(key, "a key must be plain text")
            name = self._text(key)
            if name == "<<" and key.implicit[0]:
                self._refuse(key, "merge keys (<<) are not supported: write the keys out")
            if name in items:
                first = items[name].line
                self._refuse(key, f'key "{name}" is there twice, first on line {first}')
            items[name] = replace(self._node(next(self._events), depth + 1), line=_line(key))
            size += items[name].size
        return Node(items, _line(event), size=size)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _resolve(text: str) -> str | int | float | bool | None:
    """What a plain word stands for. Dates stay text, as for Kubernetes."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text
