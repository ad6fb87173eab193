"""Objects of several shapes: formats whose shapes hold one polygon each give those of an object a group in common."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def objects(groups: Mapping[int, Hashable | None]) -> list[list[int]]:
    """The places of each object's shapes, in order of the first of them.

    Args:
        groups: place of each shape -> its group; None: it is an object by itself.
    """
    found: dict[tuple[bool, Hashable], list[int]] = {}
    for place, group in groups.items():
        found.setdefault((group is None, place if group is None else group), []).append(place)
    return list(found.values())


def with_parts(shapes: Sequence[T], places_of: Sequence[Sequence[int]], new: Mapping[int, Sequence[T]]) -> list[T]:
    """All shapes, with other parts of some objects: each in the place of an old one, further ones behind the last.

    Args:
        shapes: as they were.
        places_of: of each object, as `objects` gives them.
        new: number of an object -> its new shapes.
    """
    replaced: dict[int, Sequence[T]] = {}
    for number, parts in new.items():
        *earlier, last = places_of[number]
        replaced.update({place: parts[rank : rank + 1] for rank, place in enumerate(earlier)})
        replaced[last] = parts[len(earlier) :]
    return [part for place, shape in enumerate(shapes) for part in replaced.get(place, (shape,))]
