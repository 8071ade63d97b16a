"""Durations: seconds in Python, a text with units in YAML."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from data_miner.spec.base import VALIDATIONS, Cel

_PATTERN: Final = (
    r"^([0-9]{1,6}(\.[0-9]{1,3})?d)?([0-9]{1,6}(\.[0-9]{1,3})?h)?([0-9]{1,6}(\.[0-9]{1,3})?m)?"
    r"([0-9]{1,9}(\.[0-9]{1,3})?s)?([0-9]{1,9}ms)?$"
)
_MAX_SECONDS: Final = 3650 * 86_400.0
_UNIT_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_EXAMPLES: Final = 'a duration such as "500ms", "2s", "10m", "1h30m" or "30d"'


def parse_duration(value: object) -> float:
    """Seconds, exact to the millisecond, of a text such as ``1h30m``: units fall from d to ms.

    Raises ValueError for anything else, for a number without its unit, and outside of 1 ms to
    ten years.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'must have a unit: write "{value:g}s" for {value:g} seconds')  # noqa: TRY004
    if not isinstance(value, str):
        raise ValueError(f"must be {_EXAMPLES}")  # noqa: TRY004
    if not value or len(value) > 40 or not re.fullmatch(_PATTERN[1:-1], value):
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            raise ValueError(f'must have a unit: write "{value}s" for {value} seconds')
        raise ValueError(f"must be {_EXAMPLES}")
    parts = re.findall(r"([0-9.]+)([a-z]+)", value)
    milliseconds = int(sum(Decimal(number) * _UNIT_MS[unit] for number, unit in parts))
    if not 1 <= milliseconds <= _MAX_SECONDS * 1000:
        raise ValueError("must be from 1ms to 3650d")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as these seconds: ``5400`` gives ``1h30m``."""
    rest = round(seconds * 1000)
    text = ""
    for unit, size in _UNIT_MS.items():
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text


def milliseconds_in_cel(value: str) -> str:
    """An expression for the milliseconds of a duration, `value` being an expression for its text.

    CEL's own durations know no days: these are counted apart.
    """
    day = f"{value}.indexOf('d')"
    return (
        f"duration({value}.substring({day} + 1) + '0s').getMilliseconds() + ({day} < 0 ? 0 : "
        f"int(double({value}.substring(0, {day})) * {_UNIT_MS['d']}.0 + 0.5))"
    )


_IN_RANGE: Final = Cel(
    # A text without units is no number, and to count with it would be an error with other words.
    "self.matches('^([0-9.]+(d|h|ms?|s))+$') && "
    f"[{milliseconds_in_cel('self')}].all(ms, ms >= 1 && ms <= {int(_MAX_SECONDS * 1000)})",
    f"must be {_EXAMPLES}, from 1ms to 3650d",
)

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "duration", "pattern": _PATTERN,
                    "minLength": 2, "maxLength": 40, VALIDATIONS: [_IN_RANGE.as_schema()]}),
]  # fmt: skip
"""Seconds in Python; in YAML a text with units."""
