"""How commands end before their time: one line, the right exit code, nobody left behind, and the next run goes on."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import typer

from bpr_cli import app
from bpr_cli.benchmark.workload import WORKLOADS
from bpr_cli.commands import benchmark, ending, options
from bpr_cli.engines.devices import DTYPES, INT8
from bpr_cli.engines.engine import ENGINES
from bpr_cli.patches import SCHEMES
from bpr_cli.refining.settings import BLENDS
from bpr_cli.refining.speed import SPEEDS
from tests.conftest import run_bpr

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

# As `python -m bpr_cli`, with an image a shard and so much work that a signal comes in the middle of it.
MANY_SHARDS = """
import sys
if __name__ == "__main__":
    from bpr_cli.extraction import plan
    from bpr_cli.__main__ import main
    plan.IMAGES_PER_SHARD = 1
    main()
"""

# Python's own helper of spawned processes, started by the first of their queues, unblocks what it blocks for itself.
FIRST_QUEUE = """
import multiprocessing, signal
from bpr_cli.processes import ENDING_SIGNALS, signals_held
with signals_held():
    multiprocessing.get_context("spawn").Queue()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= set(ENDING_SIGNALS)
assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
"""


@pytest.fixture
def start():
    """Start a command in a process group of its own, as a terminal does; what is left of it is killed at the end."""
    started = []

    def run(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            list(map(str, arguments)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
            # Under nohup and in a script's background the tests, and so their children, would ignore it.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def children(process: subprocess.Popen[str]) -> list[int]:
    """Processes of its group that run, itself left out."""
    listed = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()[1:]]
    return [int(pid) for pid, group, state in rows if int(group) == process.pid != int(pid) and state[0] != "Z"]


def wait_until(holds, seconds=120.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def extraction(example, tmp_path_factory):
    """Arguments of an extraction of ten shards, all but its folder; and what it makes when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("extraction")
    (folder / "run.py").write_text(MANY_SHARDS)
    arguments = [
        sys.executable, folder / "run.py", "extract", "--images", example.images, "--gt", example.gt,
        "--corruptions", 3, "--val-fraction", 0.3, "--processes", 2, "-q", "-o",
    ]  # fmt: skip
    subprocess.run(list(map(str, [*arguments, folder / "whole"])), check=True, stdout=subprocess.DEVNULL)
    return arguments, contents(folder / "whole")


@posix
def test_an_extraction_that_is_ended_leaves_no_process_and_the_next_run_ends_the_same(start, extraction, tmp_path):
    arguments, whole = extraction
    out = tmp_path / "shards"
    for sent, to in (("SIGINT", "all"), ("SIGTERM", "the parent"), ("SIGKILL", "the parent")):
        done = len(list(out.glob("*.report.json")))
        process = start(*arguments, out)
        wait_until(lambda done=done: len(list(out.glob("*.report.json"))) > done and list(out.glob(".*.part")))
        if to == "all":
            os.killpg(process.pid, getattr(signal, sent))
        else:
            process.send_signal(getattr(signal, sent))
        process.wait(30)
        wait_until(lambda process=process: not children(process), 10)
        said = process.communicate()[1]
        if sent != "SIGKILL":
            assert process.returncode == 128 + getattr(signal, sent), sent
            assert said.startswith("interrupted; "), sent
            assert "kept in" in said, sent
            assert len(said.splitlines()) == 1, sent
            assert not list(out.glob(".*")), sent
    assert subprocess.run(list(map(str, [*arguments, out])), check=True, stdout=subprocess.DEVNULL).returncode == 0
    assert contents(out) == whole


@posix
def test_signals_stay_held_when_the_first_worker_is_started():
    subprocess.run([sys.executable, "-c", FIRST_QUEUE], check=True)


@posix
@pytest.mark.parametrize("sent", ["SIGINT", "SIGKILL"])
def test_a_training_that_is_ended_says_what_it_keeps_and_leaves_no_process(start, shard_folder, tmp_path, sent):
    out = tmp_path / "run"
    process = start(
        sys.executable, "-m", "bpr_cli", "train", "--patches", shard_folder, "-o", out, "--batch-size", 2,
        "--input-size", 32, "--save-every", 1, "--workers", 2, "-q",
    )  # fmt: skip
    wait_until((out / "last.pt").exists)
    if sent == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    process.wait(60)
    wait_until(lambda: not children(process), 20)
    if sent == "SIGINT":
        assert process.returncode == 130
        said = process.communicate()[1]
        assert said == f"interrupted; the last saved state is kept in {out / 'last.pt'}; --resume goes on from there\n"


@pytest.fixture
def failing(monkeypatch, capsys, tmp_path):
    """Run the command line on an error that escapes a command: exit code, what was said."""

    def run(error):
        def fail(*arguments):
            raise error

        monkeypatch.setattr(app, "app", fail)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with pytest.raises(SystemExit) as ended:
            app.main()
        return ended.value.code, "".join(capsys.readouterr().err.splitlines())

    return run


def test_what_escapes_is_called_a_bug_in_a_line_with_the_traceback_in_a_file(failing, tmp_path):
    code, said = failing(KeyError("width\nheight"))
    (file,) = tmp_path.iterdir()
    assert code == 1
    assert said.startswith("bug: KeyError")
    assert file.name in said
    assert "Traceback" not in said
    assert "in fail" in file.read_text()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/x.tar"), "error: out/x.tar: No space left on device"),
        (MemoryError(), "error: there is not enough memory"),
    ],
)
def test_what_the_machine_lacks_is_an_error_in_a_line(failing, tmp_path, error, says):
    assert failing(error) == (1, says)
    assert not list(tmp_path.iterdir())


def test_choices_of_the_command_line_are_those_of_the_modules_that_decide():
    assert get_args(options.EngineName) == ENGINES
    assert get_args(options.PrecisionName) == ("auto", *DTYPES, INT8)
    assert get_args(options.SpeedName) == tuple(SPEEDS)
    assert get_args(options.BlendName) == BLENDS
    assert get_args(options.SchemeName) == SCHEMES
    assert get_args(benchmark.WorkloadName) == tuple(WORKLOADS)


@pytest.mark.parametrize(
    "arguments",
    [
        "refine in.json -o out.json --speed quick",
        "refine in.json -o out.json --engine onnx",
        "refine in.json -o out.json --precision fp8",
        "refine in.json -o out.json --device gpu",
        "refine in.json -o out.json --device cuda:-1",
        "refine in.json -o out.json --caution 1",
        "refine in.json -o out.json --batch-size 0",
        "refine in.json -o out.json --passes -1",
        "extract --images . --gt gt.json -o out --scheme dens",
        "extract --images . --gt gt.json -o out --processes 0",
        "extract --images . --gt gt.json -o out --patch-size 4",
        "extract --images . --gt gt.json -o out --seed -1",
        "benchmark --workload ade",
        "benchmark --photos 0",
    ],
)
def test_options_out_of_their_range_are_refused_before_any_work(arguments, tmp_path):
    failed = run_bpr(*arguments.split(), cwd=tmp_path)
    assert failed.returncode == 2
    assert arguments.split()[-2] in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(tmp_path.iterdir())


WORKER = """
import multiprocessing, sys
from bpr_cli.processes import begin_worker
def work():
    begin_worker()
    for fault in (ConnectionResetError("the parent is gone"), ValueError("a fault")):
        sys.excepthook(type(fault), fault, None)
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
"""


@posix
def test_a_worker_says_nothing_of_connections_that_its_parent_breaks():
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=True)
    assert done.stderr == "ValueError: a fault\n"


def test_an_interrupted_command_says_what_it_wrote_and_where_its_unfinished_work_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ending, "ignore_signals", lambda: None)

    def command(output):
        for name in ("out/a.json", "out/b.json", "out/c.json.unfinished/000000.json", "out.unfinished/000000.json"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
            os.utime(tmp_path / name, ns=(time.time_ns(),) * 2)  # file systems' clocks are some milliseconds late
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        ending.stating_what_is_left(command)(output=tmp_path / "out")
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == (
        f"interrupted; 2 files, each whole, had been written to {tmp_path / 'out'}; what is done is kept in "
        f"{tmp_path / 'out.unfinished'}, and the same command goes on from there\n"
    )
