"""How commands end before their time: one line that says what happened and what is on the disk now."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from bpr_cli.commands.options import print_error, print_note
from bpr_cli.processes import exit_code, ignore_signals, is_leading
from bpr_cli.stores.addresses import is_address, shown
from bpr_cli.unfinished import SUFFIX, folder_of

OUTPUTS = ("output", "report", "json_file", "json")  # parameters of commands that name what they write

Left = Callable[[Mapping[str, Any]], str]


def stating_what_is_left(command: Callable[..., None], left: Left | None = None) -> Callable[..., None]:
    """A command that answers Ctrl-C and SIGTERM in one line, with exit code 130 or 143.

    Args:
        command: as Typer takes it.
        left: what the command's parameters tell of the state that it keeps; None for one that writes its outputs at
            its end.
    """

    @wraps(command)
    def run(**parameters: Any) -> None:
        begun = time.time_ns()
        try:
            command(**parameters)
        except KeyboardInterrupt as interrupt:
            ignore_signals()
            state = left(parameters) if left is not None else _written_since(begun, parameters)
            if is_leading():
                print_note(f"interrupted; {state}")
            raise typer.Exit(exit_code(interrupt)) from None

    return run


def kept_shards(parameters: Mapping[str, Any]) -> str:
    """What an interrupted extraction leaves."""
    if is_address(parameters["output"]):
        return f"finished shards are kept in {shown(parameters['output'])}; the same command goes on from there"
    output = Path(parameters["output"])
    count = len(list(output.glob("*.report.json")))
    if count == 0:
        return "no shard was finished"
    return f"{count} finished shard{'s' if count > 1 else ''} kept in {output}; the same command goes on from there"


def kept_state(parameters: Mapping[str, Any]) -> str:
    """What an interrupted training leaves."""
    state = Path(parameters["output"], "last.pt")
    if not state.exists():
        return f"no state was saved yet in {state.parent}; --resume begins anew"
    return f"the last saved state is kept in {state}; --resume goes on from there"


def print_bug(error: Exception) -> None:
    """One line on an error that is nobody's but ours, with the traceback in a file."""
    what = traceback.format_exception_only(type(error), error)[-1].strip().splitlines()[0]
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="bpr-bug-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            traceback.print_exception(error, file=file)
        where = f"please report it with {file.name}"
    except OSError as full:
        traceback.print_exception(error)
        where = f"the traceback could not be written to a file ({full})"
    print_error("bug", f"{what[:200]}; {where}")


def describe_os_error(error: OSError) -> str:
    """What failed and where, without Python's numbers."""
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}" if error.filename is not None else what


def _written_since(begun: int, parameters: Mapping[str, Any]) -> str:
    """Which outputs were written since a time (ns), temporary files left out; and where unfinished work is kept."""
    written, kept = [], []
    named = [parameters[name] for name in OUTPUTS if parameters.get(name) is not None]
    for output in (Path(name) for name in named if not is_address(name)):  # nothing is in a store before the end
        for path in output.rglob("*") if output.is_dir() else [output]:
            is_temporary = path.suffix == ".part" or path.parent.suffix == SUFFIX
            if not is_temporary and path.is_file() and path.stat().st_mtime_ns >= begun:
                written.append(path)
        kept += [folder for folder in (folder_of(output),) if folder.is_dir()]
    if not written:
        state = "no output was written"
    elif len(written) == 1:
        state = f"{written[0]} had been written"
    else:
        state = f"{len(written)} files, each whole, had been written to {written[0].parent}"
    if kept:
        state += f"; what is done is kept in {kept[0]}, and the same command goes on from there"
    return state
