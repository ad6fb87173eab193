"""An evaluation that is killed goes on from its last block, to the same bytes; one of other inputs is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bpr_cli.evaluation import blocks
from bpr_cli.evaluation.blocks import BlockComparer, ComparedBlock
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.formats.mask_pixels import SOFT
from bpr_cli.report.figures_json import figures_as_json
from bpr_cli.unfinished import Unfinished
from tests import cityscapes_made
from tests.conftest import AS_TESTED, ROOT, Example, run_bpr
from tests.evaluation.made import write
from tests.evaluation.random_sets import random_set

# As `python -m bpr_cli`, an image a block, killed when it has kept some of them, or while it writes one more.
KILLED = """
import os, signal, sys
from bpr_cli.__main__ import main
from bpr_cli.evaluation import blocks
from bpr_cli.unfinished import Unfinished
moment, kept, write = sys.argv.pop(1), int(sys.argv.pop(1)), Unfinished.write
def end():
    os.kill(os.getpid(), signal.SIGKILL)
def write_and_end(self, block, value):
    if block == kept and moment == "writing":
        import bpr_cli.unfinished
        bpr_cli.unfinished.json.dumps = lambda value, **options: "half"
        os.fsync = lambda descriptor: end()
    write(self, block, value)
    if block == kept:
        end()
blocks.MOST_IMAGES = 1
Unfinished.write = write_and_end
main()
"""


def arguments(example: Example, figures: Path) -> list[object]:
    return [
        *("evaluate", example.results, "--gt", example.gt, "--baseline", example.results),
        *("--upper-bound", "2", "--json", figures, "-q"),
    ]


def killed(*command: object) -> None:
    environment = {**os.environ, **AS_TESTED, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, command)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def an_image_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_IMAGES", 1)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by an entry for each block that is compared."""
    found: list[int] = []
    call = BlockComparer.__call__

    def counted(self: BlockComparer, block: list[blocks.ImageToCompare], *more: object) -> ComparedBlock:
        found.append(len(block))
        return call(self, block, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(BlockComparer, "__call__", counted)
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_after_each_kill_it_goes_on_from_the_last_block_to_the_same_bytes(
    three_photos: Example, tmp_path: Path, an_image_a_block: None, compared: list[int]
) -> None:
    whole, figures = tmp_path / "whole.json", tmp_path / "figures.json"
    assert run_bpr(*arguments(three_photos, whole)).returncode == 0
    assert compared == [1, 1, 1]
    unfinished = Unfinished(figures, {}).folder
    for moment, kept, left in (("writing", 0, 0), ("after", 0, 1), ("writing", 1, 1), ("after", 1, 2)):
        killed(moment, kept, *arguments(three_photos, figures))
        assert len(list(unfinished.glob("[0-9]*.json"))) == left
        assert not figures.exists()
    compared.clear()
    assert run_bpr(*arguments(three_photos, figures)).returncode == 0
    assert compared == [1]
    assert figures.read_bytes() == whole.read_bytes()
    assert not unfinished.exists()


@pytest.fixture
def interrupted(three_photos: Example, tmp_path: Path, an_image_a_block: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Figures of which two blocks are kept, with copies of the inputs beside them."""
    for path in (three_photos.results, three_photos.gt):
        shutil.copy(path, tmp_path)
    figures, call = tmp_path / "figures.json", BlockComparer.__call__

    def end(self: BlockComparer, block: list[blocks.ImageToCompare], *more: object) -> ComparedBlock:
        if len(list(Unfinished(figures, {}).folder.glob("[0-9]*.json"))) == 2:
            raise MemoryError
        return call(self, block, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(BlockComparer, "__call__", end)
        assert run_bpr(*of_copies(figures)).returncode == 1
    return figures


def of_copies(figures: Path, *more: object) -> list[object]:
    return ["evaluate", figures.parent / "results.json", "--gt", figures.parent / "gt.json", "--json", figures, *more]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--tolerance", 2), "tolerance 1.0 -> 2.0"),
        (("--upper-bound", "1,2"), "upper_bounds [] -> [1, 2]"),
        (("--skip-bad",), "skip_bad false -> true"),
        (("--group-by", "sequence"), 'group_by null -> "sequence"'),
        (("--baseline", "results.json"), "baseline has changed"),
    ],
)
def test_other_settings_are_refused_with_what_differs(interrupted: Path, more: tuple[object, ...], says: str) -> None:
    refused = run_bpr(*of_copies(interrupted, *more), cwd=interrupted.parent)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert f"{interrupted.name}.unfinished: the unfinished work there is of other inputs or settings" in refused.stderr
    assert says in refused.stderr
    assert not interrupted.exists()


def test_other_inputs_are_refused_and_the_same_ones_at_another_time_are_not(
    interrupted: Path, compared: list[int]
) -> None:
    results = interrupted.parent / "results.json"
    text = results.read_text()
    results.write_text(json.dumps([{**record, "score": 0.5} for record in json.loads(text)]))
    refused = run_bpr(*of_copies(interrupted))
    assert (refused.returncode, "results has changed" in refused.stderr) == (2, True)
    results.write_text(text)
    assert run_bpr(*of_copies(interrupted)).returncode == 0
    assert compared == [1]


def test_without_a_file_of_figures_nothing_is_kept(
    three_photos: Example, tmp_path: Path, an_image_a_block: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unfinished, "__enter__", lambda self: pytest.fail("something is kept"))
    assert run_bpr("evaluate", three_photos.results, "--gt", three_photos.gt, "-q", cwd=tmp_path).returncode == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lvis", [False, True])
def test_figures_do_not_depend_on_the_blocks_nor_on_a_round_trip_through_json(
    lvis: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, detections = random_set(3, lvis=lvis)
    files = write(tmp_path / "r.json", detections), write(tmp_path / "gt.json", truth), tmp_path / "r.json"
    settings = EvaluationSettings(upper_bounds=(2,))
    whole = figures_as_json(evaluate(*files, settings=settings, quiet=True))
    call = BlockComparer.__call__

    def round_trip(self: BlockComparer, block: list[blocks.ImageToCompare], *more: object) -> ComparedBlock:
        return ComparedBlock.from_json(json.loads(json.dumps(call(self, block, *more).as_json())))  # type: ignore[arg-type]

    monkeypatch.setattr(BlockComparer, "__call__", round_trip)
    monkeypatch.setattr(blocks, "MOST_IMAGES", 2)
    assert figures_as_json(evaluate(*files, settings=settings, quiet=True)) == whole


def test_a_mask_image_written_anew_is_compared_anew_and_what_was_said_of_others_is_said_again(
    tmp_path: Path, an_image_a_block: None, compared: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cityscapes_made.make(tmp_path / "city")
    masks = [made.results / f"aachen_00000{number}_000019_0.png" for number in (0, 1)]
    soft_HW = cv2.GaussianBlur(np.asarray(cv2.imread(str(masks[0]), cv2.IMREAD_GRAYSCALE)), (31, 31), 9)
    cv2.imwrite(str(masks[0]), soft_HW)
    command = ["evaluate", made.results, "--gt", made.gt, "--json", tmp_path / "figures.json", "-q"]
    with monkeypatch.context() as patched:
        patched.setattr("bpr_cli.report.figures_json.write_json", lambda *_: (_ for _ in ()).throw(MemoryError))
        assert run_bpr(*command).returncode == 1
    compared.clear()
    masks[1].write_bytes(masks[1].read_bytes())  # the same pixels, at another time
    done = run_bpr(*command)
    assert done.returncode == 0
    assert compared == [1]
    assert f"{masks[0].name}: {SOFT}" in done.stdout + done.stderr
