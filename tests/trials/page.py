"""The page examples/RELIABILITY.md, from the figures that the trials wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HEAD = """\
# What was tried to break it

Written by `make trial`, which runs all of this anew (half an hour on two cores). Nothing is to be lost: a command ends
with its whole output or with a line that says what to do, never with half a file or a traceback.

| trial | tried | lost | command | commit |
|---|---|---|---|---|
"""


def write_page(folder: Path, names: Sequence[str], page: Path) -> None:
    """Write the page of those trials whose figures are in the folder.

    Args:
        folder: of `NAME.json`, a trial's figures each.
        names: the trials, in the order of the page.
        page: the file to write.
    """
    found = [json.loads(path.read_text()) for name in names if (path := folder / f"{name}.json").exists()]
    page.write_text(HEAD + "".join(_summary(trial) for trial in found) + "".join(_section(trial) for trial in found))


def _summary(trial: Mapping[str, Any]) -> str:
    command = f"`make trial TRIAL={trial['trial']}`"
    return _line([trial["trial"], f"{trial['tried']:,}", f"{trial['lost']:,}", command, trial["commit"]])


def _section(trial: Mapping[str, Any]) -> str:
    took = f"{trial['minutes']:g} minutes on {trial['processors']} processors, {trial['date']}"
    table = _line(trial["columns"]) + _line(["---"] * len(trial["columns"])) + "".join(map(_line, trial["rows"]))
    return f"\n## {trial['trial']}\n\n{trial['method']} ({took}.)\n\n{table}"


def _line(cells: Sequence[str | int]) -> str:
    return f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else cell for cell in cells)} |\n"
