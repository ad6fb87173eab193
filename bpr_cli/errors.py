"""The one exception for bad input: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from os import PathLike
from typing import TypeVar

from bpr_cli.stores.names import with_addresses

DISTRIBUTION = "boundary-patch-refinement"  # what pip knows it by
LONGEST_ID = 80  # characters of an image's id in a message

Settings = TypeVar("Settings")


class InputError(ValueError):
    """Something the user gave cannot be used.

    Raised where the fact is known (a reader, a loader), printed once by the command line, which then
    exits with code 2. `str(error)` reads "FILE, image ID, annotation INDEX: problem. Remedy."

    Args:
        problem: what is wrong, without a full stop.
        file: the file or folder at fault.
        image_id: the id of the image at fault, as the input writes it.
        index: 0-based position of the detection or annotation in its list.
        remedy: what the user can do, without a full stop.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | PathLike[str] | None = None,
        image_id: int | str | None = None,
        index: int | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = file
        self.image_id = image_id
        self.index = index
        self.remedy = remedy
        super().__init__(self._text())

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send exceptions back pickled, and the default forgets keyword arguments.
        places = {"file": self.file, "image_id": self.image_id, "index": self.index, "remedy": self.remedy}
        return partial(type(self), self.problem, **places), ()  # type: ignore[arg-type]

    def _text(self) -> str:
        where = []
        if self.file is not None:
            where.append(str(self.file))
        if self.image_id is not None:
            where.append(f"image {str(self.image_id)[:LONGEST_ID]}")
        if self.index is not None:
            where.append(f"annotation {self.index}")
        text = f"{', '.join(where)}: {self.problem}" if where else self.problem
        text = with_addresses(f"{text}. {self.remedy}." if self.remedy else f"{text}.")
        # Names come from files: a line break or an escape sequence in one must not reach the terminal.
        return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class ToldElsewhereError(Exception):
    """What ends this process is said by another one of the same run; here it ends without a word."""


def to_install(extra: str) -> str:
    """The remedy for a missing package: the command that installs it, by the extra of pyproject.toml it belongs to."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def refuse_beside(what: str, defaults: Mapping[str, object] | None = None, **arguments: object) -> None:
    """InputError if an argument is given that would not be used beside `what`.

    Args:
        what: what makes the others useless, as the message names it.
        defaults: the arguments' defaults, where they are not None.
        arguments: as the caller got them.
    """
    known = defaults or {}
    useless = [
        name for name, value in arguments.items() if value is not None and not (name in known and value == known[name])
    ]
    if useless:
        raise InputError(f"{', '.join(useless)} would not be used beside {what}", remedy="Leave one of them out")


def checked_settings(settings: Settings | None, kind: type[Settings]) -> Settings:
    """Settings of that kind, with its defaults where there are none; InputError for anything else."""
    settings = kind() if settings is None else settings
    if not isinstance(settings, kind):
        raise InputError(f"settings is {type(settings).__name__}", remedy=f"Give {kind.__name__}(...)")
    return settings
