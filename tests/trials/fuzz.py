"""Trial: broken inputs for every reader. Each must be read, or refused with an `InputError`, soon and in little memory.

An input is a function of (seed, reader, number). They are tried in forked children, which die of a hang (processor
time), of memory (address space) or of a crash in place of the trial; what a child was at then is what killed it.

    python -m tests.trials.fuzz "COCO results" 17    one input anew, with its traceback
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from bpr_cli.errors import InputError
from bpr_cli.training.train import TrainingDivergedError
from tests.trials.common import Figures
from tests.trials.readers import READERS, Call, Reader, load_refiner
from tests.trials.sound_inputs import make_folder, use_tiny_networks

SEED = 1
INPUTS = 6000  # over all readers
BLOCK = 50  # inputs a child
SECONDS = 10  # of processor time an input
PATIENCE = 300  # seconds in which a child that is given no processor time, or waits for what never comes, says nothing
LARGE = 1 << 16  # bytes
MEMORY = 3 << 30  # bytes of address space beyond what a child begins with

OWN_FAULT = 99  # exit code of a child in which the trial failed, not what it tries
FORMS, SHARES = ("file", "folder", "link to nothing", "link to itself"), (0.97, 0.01, 0.01, 0.01)

READ, REFUSED = "read", "refused"
EXCEPTION, HANG, OUT_OF_MEMORY, CRASH = FAILURES = ("exception", "hang", "out of memory", "crash")
KINDS = (READ, REFUSED, *FAILURES)
REFUSED_WHEN_SOUND = ("kinds/float.tif", "bpr.toml")  # a photo of a kind that cannot be read; see `WITH_DEFAULTS`


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        reader, number: which input.
        outcome: one of the above.
        kind: the exception's type, or the signal.
        place: the innermost line of the package that it went through.
        trace: the traceback, or the refusal.
    """

    reader: str
    number: int
    outcome: str
    kind: str = ""
    place: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Input:
    """A broken file, and the call that reads it.

    Attributes:
        file: its path.
        data: its bytes.
        call: what reads it.
        form: one of `FORMS`: a file of these bytes, or something else of that name.
    """

    file: str
    data: bytes
    call: Call
    form: str = "file"


def make_input(reader: Reader, number: int, seed: int, sound: Path) -> Input:
    """The input: a function of its arguments."""
    rng = random.Random(zlib.crc32(f"{seed} {reader.name} {number}".encode()))
    file = rng.choice(reader.found(sound))
    data = rng.choice(reader.mutations)((sound / file).read_bytes(), rng)
    return Input(file, data, rng.choice(reader.calls), rng.choices(FORMS, SHARES)[0])


def place(folder: Path, sound: Path, broken: Input) -> None:
    """Make a folder of good files, but for the broken one."""
    shutil.copytree(sound, folder, copy_function=_copy)
    file = folder / broken.file
    file.unlink()
    match broken.form:
        case "file":
            file.write_bytes(broken.data)
        case "folder":
            file.mkdir()
        case "link to nothing":
            file.symlink_to("nothing")
        case "link to itself":
            file.symlink_to(file.name)


def _copy(source: str, target: str) -> None:
    """A copy with its times; large files are replaced by those who write them, never changed: one is enough."""
    (os.link if Path(source).stat().st_size > LARGE else shutil.copy2)(source, target)


def attempt(reader: Reader, number: int, broken: Input) -> Outcome:
    """Read the input in the working directory."""
    try:
        broken.call(Path(broken.file))
    except (InputError, TrainingDivergedError) as error:
        return Outcome(reader.name, number, REFUSED, trace=str(error))
    except SystemExit as ended:
        if ended.code in (0, 2):
            return Outcome(reader.name, number, REFUSED if ended.code else READ)
        return Outcome(reader.name, number, EXCEPTION, "SystemExit", f"exit code {ended.code}")
    except BaseException as error:
        return _failed(reader.name, number, error)
    return Outcome(reader.name, number, READ)


def _failed(reader: str, number: int, error: BaseException) -> Outcome:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/bpr_cli/" in frame.filename]
    where = f"{own[-1].filename.rpartition('/bpr_cli/')[2]}:{own[-1].lineno} {own[-1].name}" if own else "?"
    starved = isinstance(error, MemoryError) or any(
        word in str(error) for word in ("bad_alloc", "alloc", "OutOfMemory")
    )
    trace = "".join(traceback.format_exception(error))
    return Outcome(reader, number, OUT_OF_MEMORY if starved else EXCEPTION, type(error).__name__, where, trace)


def try_inputs(reader: Reader, numbers: Sequence[int], seed: int, sound: Path) -> Iterator[Outcome]:
    """Outcomes of the inputs, in order, from as many children as it takes."""
    waiting = list(numbers)
    while waiting:
        block = {number: make_input(reader, number, seed, sound) for number in waiting[:BLOCK]}
        for outcome in _from_child(reader, block, sound):
            waiting.pop(0)
            yield outcome


def _from_child(reader: Reader, block: Mapping[int, Input], sound: Path) -> Iterator[Outcome]:
    """Outcomes up to the first input that the child does not survive."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(reader, block, sound, sending)
    os.close(sending)
    waiting = list(block)
    with os.fdopen(receiving, "rb", buffering=0) as lines:  # unbuffered, so that select sees what is there
        while select.select([lines], [], [], PATIENCE)[0] and (line := lines.readline()):
            waiting.pop(0)
            yield Outcome(**json.loads(line))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == OWN_FAULT:
        raise RuntimeError(f"the trial itself failed at {reader.name} {waiting[0]}")
    if waiting:
        ended_by = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status}"
        kind = HANG if ended_by in ("SIGPROF", "SIGKILL") else CRASH
        yield Outcome(reader.name, waiting[0], kind, ended_by)


def _be_child(reader: Reader, block: Mapping[int, Input], sound: Path, sending: int) -> NoReturn:
    """Try the inputs, a line each into the pipe, and end."""
    faulthandler.disable()
    told = os.dup(2)
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        for number, broken in block.items():
            outcome = _in_folder_of_its_own(reader, number, broken, sound)
            os.write(sending, json.dumps(asdict(outcome)).encode() + b"\n")
    except BaseException:
        os.write(told, traceback.format_exc().encode())
        os._exit(OWN_FAULT)
    os._exit(0)


def _in_folder_of_its_own(reader: Reader, number: int, broken: Input, sound: Path) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="input-", dir=sound.parent, ignore_cleanup_errors=True) as folder:
        place(Path(folder, "in"), sound, broken)
        os.chdir(Path(folder, "in"))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        outcome = attempt(reader, number, broken)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.chdir(sound)
    return outcome


def check_sound(sound: Path) -> None:
    """Make sure that what is not broken is not refused: else the refusal of what is would prove nothing."""
    for reader in READERS:
        pairs = [(file, call) for file in reader.found(sound) for call in reader.calls]
        block = {n: Input(file, (sound / file).read_bytes(), call) for n, (file, call) in enumerate(pairs)}
        for outcome in _from_child(reader, block, sound):
            if outcome.outcome != READ and block[outcome.number].file not in REFUSED_WHEN_SOUND:
                raise RuntimeError(f"{block[outcome.number].file} is good, but {outcome}")


@contextmanager
def sound_folder() -> Iterator[Path]:
    """A folder of good inputs, and this process made ready to try broken ones."""
    use_tiny_networks()
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="bpr-fuzz-") as folder:
        sound = Path(folder, "sound")
        make_folder(sound)
        os.chdir(sound)
        load_refiner()  # once, for all children
        yield sound
        os.chdir(here)


def run(out: Path, scale: float) -> Figures:
    """Try all readers; one input of each kind of failure, with its traceback, is kept in `out`."""
    total = sum(reader.share for reader in READERS)
    rows, failed = [], []
    with sound_folder() as sound:
        check_sound(sound)
        for reader in READERS:
            count = math.ceil(scale * INPUTS * reader.share / total)
            outcomes = list(try_inputs(reader, range(count), SEED, sound))
            rows.append([reader.name, count, *(sum(o.outcome == kind for o in outcomes) for kind in KINDS)])
            print(*rows[-1], flush=True)
            failed += [outcome for outcome in outcomes if outcome.outcome in FAILURES]
        failures = keep_failures(failed, out / "fuzz-failures", sound)
    rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    method = f"Files changed at random, most of them in a way that keeps the format's checksums right (seed {SEED})."
    return Figures("fuzz", method, ["reader", "inputs", *KINDS], rows, rows[-1][1], len(failed), failures)


def keep_failures(failed: Sequence[Outcome], folder: Path, sound: Path) -> list[str]:
    """Write an input and a traceback of each kind of failure; a line each."""
    groups: dict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    for outcome in failed:
        groups[outcome.outcome, outcome.kind, outcome.place].append(outcome)
    shutil.rmtree(folder, ignore_errors=True)
    lines = []
    for (outcome, kind, place), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        first, kept = members[0], folder / f"{len(lines):02d}"
        broken = make_input(next(r for r in READERS if r.name == first.reader), first.number, SEED, sound)
        kept.mkdir(parents=True)
        (kept / Path(broken.file).name).write_bytes(broken.data if broken.form == "file" else broken.form.encode())
        (kept / "trace.txt").write_text(first.trace)
        who = ", ".join(f"{name} ({count})" for name, count in Counter(o.reader for o in members).items())
        said = first.trace.strip().splitlines()[-1][:150] if first.trace else ""
        lines.append(
            f"{kept.name}: {outcome}, {kind} at {place}: {said}; {who}; again: {first.reader!r} {first.number}"
        )
    return lines


def main(name: str, number: int) -> None:
    """Try one input anew, in this process."""
    reader = next(reader for reader in READERS if reader.name == name)
    with sound_folder() as sound:
        broken = make_input(reader, number, SEED, sound)
        print(f"{broken.file}, a {broken.form}, read by {broken.call}")
        outcome = _in_folder_of_its_own(reader, number, broken, sound)
        print(outcome.outcome, outcome.kind, outcome.place, outcome.trace, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
