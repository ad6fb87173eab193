"""The classes' names in the YAML file of a YOLO data set; of YAML only what such files use for them."""

from __future__ import annotations

import re
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.notices import warn_of_input

ENTRY = re.compile(r"\s*(?:-\s+|(\d+)\s*:\s*)(.+)")  # - person, or 0: person
UNREAD = "its names cannot be read; classes go by their numbers (write names: [person, car])"


def read_names(path: Path) -> dict[int, str]:
    """Number -> name of each class, from `names`: a list or a mapping, in brackets or a line each.

    Raises:
        InputError: it cannot be read, or is of a data set of key points.
    """
    try:
        lines = [_without_comment(line) for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", file=path, remedy="Write the file again") from error
    if any(line.startswith("kpt_shape") for line in lines):
        raise InputError("this is a YOLO data set of key points, which has no masks", file=path, remedy="Give polygons")
    start = next((number for number, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        return {}
    block = [line for line in lines[start + 1 :] if line.strip()]
    length = next((n for n, line in enumerate(block) if not line.startswith((" ", "\t", "-"))), len(block))
    inline = " ".join([lines[start].partition(":")[2], *block[:length]]).strip()
    if inline.startswith(("[", "{")):
        entries = [entry for entry in _split(inline.strip("[]{} ")) if entry]
        mapped = inline.startswith("{")
        found = [
            re.fullmatch(r"(\d+)\s*:\s*(.+)", entry) if mapped else re.fullmatch("()(.+)", entry) for entry in entries
        ]
    else:
        found = [ENTRY.fullmatch(line) for line in block[:length]]
    if not found or None in found:
        warn_of_input(UNREAD, path)
        return {}
    return {int(match[1] or place): _unquoted(match[2]) for place, match in enumerate(filter(None, found))}


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line) if "'" not in line and '"' not in line else line


def _split(text: str) -> list[str]:
    """At commas that stand in no quotes."""
    return [part.strip() for part in re.findall(r"""(?:[^,'"]|'[^']*'|"[^"]*")+""", text)]


def _unquoted(name: str) -> str:
    name = name.strip()
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name
