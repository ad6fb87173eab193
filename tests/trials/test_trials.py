"""The trials notice what they are there to notice."""

from __future__ import annotations

import json
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bpr_cli.errors import InputError
from tests.trials import fuzz, mutations
from tests.trials.common import contents, differences, half_written, problems_of
from tests.trials.page import write_page
from tests.trials.readers import Reader


def _hang(_: Path) -> None:
    while True:
        pass


def _refuse(file: Path) -> None:
    raise InputError("broken", file=file)


def _starve(_: Path) -> None:
    bytearray(2 * fuzz.MEMORY)


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (Path.read_bytes, fuzz.READ),
        (_refuse, fuzz.REFUSED),
        (Path.read_text, fuzz.EXCEPTION),
        (_hang, fuzz.HANG),
        (_starve, fuzz.OUT_OF_MEMORY),
        (lambda _: os.abort(), fuzz.CRASH),
    ],
)
def test_what_becomes_of_an_input_is_told_and_the_next_one_is_tried_all_the_same(
    call: Callable[[Path], None], outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "file").write_bytes(b"good")
    reader = Reader("files", ["file"], [lambda data, _: b"\xff" + data], [call])
    found = list(fuzz.try_inputs(reader, [3, 4], seed=0, sound=tmp_path / "sound"))
    assert [(each.number, each.outcome) for each in found] == [(3, outcome), (4, outcome)]


def test_an_input_is_a_function_of_seed_reader_and_number(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"id": 1, "score": 0.5}] * 5))
    reader = Reader("lists", ["*.json"], [mutations.json_tree, mutations.bytes_at_random], [_refuse])
    inputs = [[fuzz.make_input(reader, number, seed, tmp_path) for number in range(20)] for seed in (0, 0, 1)]
    assert inputs[0] == inputs[1] != inputs[2]


def test_half_a_file_under_its_final_name_is_found_and_under_a_temporary_name_it_is_a_leftover(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/refined.json").write_text("[1, 2]")
    expected = contents(tmp_path)
    assert half_written(tmp_path, expected) == []
    (tmp_path / "out/refined.json").write_text("[1,")
    (tmp_path / "out/.refined.json.part").write_text("[1,")
    assert half_written(tmp_path, expected) == ["out/refined.json"]
    assert differences(contents(tmp_path), expected) == [
        "out/.refined.json.part is left over",
        "out/refined.json differs",
    ]


def test_rates_and_dates_do_not_make_outputs_differ(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    found = []
    for rate, day in ((10.5, "2026-01-01"), (9.0, "2026-01-02")):
        (tmp_path / "out/log.jsonl").write_text(json.dumps({"step": 1, "patches_per_second": rate}) + "\n")
        (tmp_path / "out/index.html").write_text(f"made {day} 10:00 UTC")
        found.append(contents(tmp_path))
    assert found[0] == found[1]


def test_a_traceback_a_wrong_code_and_more_than_two_lines_are_problems() -> None:
    assert problems_of(1, ["error: the disk is full"], (1,)) == []
    assert problems_of(2, ["error: the disk is full"], (1,)) == ["exit code 2"]
    assert len(problems_of(1, ["Traceback (most recent call last):", "OSError"], (1,))) == 1
    assert len(problems_of(1, ["one", "two", "three"], (1,))) == 1


def test_a_png_with_changed_chunks_has_right_checksums() -> None:
    data = cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes()
    changed = mutations.png_chunks(data, random.Random(3))
    assert changed != data
    length = int.from_bytes(changed[8:12], "big")
    assert int.from_bytes(changed[16 + length : 20 + length], "big") == zlib.crc32(changed[12 : 16 + length])


def test_the_page_has_the_trials_whose_figures_are_there_and_no_others(tmp_path: Path) -> None:
    figures = {"trial": "kill", "method": "Killed.", "columns": ["command", "kills"], "rows": [["all", 1204]]}
    figures |= {"tried": 1204, "lost": 0, "commit": "abc", "date": "2026-01-01", "processors": 2, "minutes": 9.5}
    (tmp_path / "kill.json").write_text(json.dumps(figures))
    write_page(tmp_path, ["fuzz", "kill"], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| kill | 1,204 | 0 | `make trial TRIAL=kill` | abc |" in page
    assert "fuzz" not in page
