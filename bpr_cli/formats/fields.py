"""Single values of a JSON record: what they may be, and how an error calls them."""

from __future__ import annotations

import re
import reprlib
import sys
from collections.abc import Iterable
from typing import Any

LARGEST = sys.float_info.max
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")  # as a program writes it: 007 is a name
SIDE = re.compile(r"([0-9]{1,9})(?:\.0+)?")
KINDS: dict[type, str] = {
    bool: "a boolean",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def described(value: Any) -> str:
    """A value as errors show it: shortened, with its type unless it is a number."""
    if value is None:
        return "null"
    kind = KINDS.get(type(value))
    return f"{reprlib.repr(value)} ({kind})" if kind else reprlib.repr(value)


def is_finite(value: Any) -> bool:
    """Whether it is a number that a float can hold, not infinite, not NaN, and not a bool."""
    # Integers are compared, not converted: JSON knows some that no float holds.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def as_id(value: Any) -> int | str | None:
    """An image's id; None if it cannot be one.

    139.0 and "139" are 139: tables with gaps turn integers into floats, and JSON keys are strings.
    """
    if type(value) is str:
        return int(value) if INTEGER.fullmatch(value) else value
    return as_integer(value)


def as_integer(value: Any) -> int | None:
    """3, 3.0 and "3" as 3; None for what is no integer."""
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is str and INTEGER.fullmatch(value):
        return int(value)
    return value if type(value) is int else None


def as_category(value: Any) -> int | None:
    """A class's id, as `as_integer`; None for one that no 64 bits hold."""
    number = as_integer(value)
    return number if number is not None and -(2**63) <= number < 2**63 else None


def as_side(value: Any) -> int | None:
    """A height or width in pixels: 854, 854.0 or "854"; None for what is none."""
    if type(value) is str and (digits := SIDE.fullmatch(value)):
        value = int(digits[1])
    side = as_integer(value)
    return side if side is not None and side > 0 else None


def differing_kinds(image_id: int | str, others: Iterable[int | str]) -> str:
    """For an error on an id that is not among others: a note where all of those are of another type."""
    kinds = {str: "a string", int: "an integer"}
    found = {type(other) for other in others}
    if len(found) != 1 or type(image_id) in found:
        return ""
    return f": it is {kinds[type(image_id)]}, each of them {kinds[found.pop()]}"
