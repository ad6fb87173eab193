"""Trial: every command on a disk that fills up.

The disk is a file system in memory (tmpfs) of a share of what the command writes; it takes root to mount it. Without
that, the largest size of a file is limited instead, which fails in the same calls. A command must end with one line and
exit code 1, leave nothing half-written, leave its input alone, and finish once there is room.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.trials.common import (
    COMMANDS,
    Attempt,
    Figures,
    Undisturbed,
    contents,
    differences,
    file_hashes,
    half_written,
    make_inputs,
    problems_of,
    watch_undisturbed,
)

DISKS = 3  # of each command, from nearly nothing to nearly enough
PAGE = 4096  # bytes; a tmpfs has room for whole pages
ROOM = 1 << 30  # bytes, enough for every command


def run(out: Path, scale: float) -> Figures:
    """Fill up the disk of every command."""
    rows, failures = [], []
    with tempfile.TemporaryDirectory(prefix="bpr-disk-") as name:
        folder = Path(name)
        make_inputs(folder / "in")
        inputs = file_hashes(folder / "in")
        for command in COMMANDS:
            undisturbed = watch_undisturbed(command, folder / "undisturbed" / command, folder / "in")
            disks, found = max(1, round(scale * DISKS)), []
            for number in range(disks):
                size = _room(undisturbed.sizes, (number + 0.5) / disks)
                problems = try_disk(undisturbed, size, folder)
                problems += differences(file_hashes(folder / "in"), inputs)
                found += [f"{command}, {size} bytes: {'; '.join(problems)}"] * bool(problems)
            rows.append([command, disks, len(found)])
            print(*rows[-1], flush=True)
            failures += found
    rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    kind = "a tmpfs" if _can_mount() else "RLIMIT_FSIZE"
    method = f"The output goes to a disk ({kind}) with room for a share of it, then to one with room for all of it."
    return Figures("disk", method, ["command", "disks", "ended otherwise"], rows, rows[-1][1], rows[-1][2], failures)


def try_disk(undisturbed: Undisturbed, size: int, folder: Path) -> list[str]:
    """What is wrong with a command's end on a disk of this size, and on the same disk with more room."""
    with tempfile.TemporaryDirectory(prefix="attempt-", dir=folder) as name, _disk(Path(name, "disk"), size) as disk:
        attempt = Attempt(disk, folder / "in", Path(name, "stderr"))
        with _limited_files(size):
            code = attempt.run(undisturbed.arguments)
        # A model's cache is done without where there is no room for it.
        allowed = (1, 0) if any(path.startswith("cache/") for path in undisturbed.contents) else (1,)
        problems = problems_of(code, attempt.said, allowed)
        problems += [f"half-written: {path}" for path in half_written(disk, undisturbed.contents)]
        problems += [f"{len(left)} processes left" for left in [attempt.orphans()] if left]
        _give_room(disk)
        if (code := attempt.run(undisturbed.arguments)) != 0:
            problems.append(f"exit code {code} with room for all ({' '.join(attempt.said[-2:])[:200]})")
        return problems + differences(contents(disk), undisturbed.contents)[:3]


def _room(sizes: Sequence[int], share: float) -> int:
    """Bytes of a disk that has room for a share of these files, or of a file that may have a share of the largest."""
    if not _can_mount():
        return int(share * max(sizes))
    pages = sum(-(-size // PAGE) for size in sizes)
    return PAGE * max(1, min(pages - 1, int(share * pages)))


def _can_mount() -> bool:
    return os.geteuid() == 0


@contextmanager
def _disk(folder: Path, size: int) -> Iterator[Path]:
    folder.mkdir()
    if not _can_mount():
        yield folder
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "bpr-trial", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _give_room(folder: Path) -> None:
    if _can_mount():
        subprocess.run(["mount", "-o", f"remount,size={ROOM}", str(folder)], check=True)


@contextmanager
def _limited_files(size: int) -> Iterator[None]:
    """Where no disk can be mounted, processes that start in here may not write files that are larger."""
    if _can_mount():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
