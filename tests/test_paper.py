"""The program that fills the paper's tables: what it measures, and when it works anew."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "examples" / "tools" / "paper"


@pytest.fixture(autouse=True)
def _program(monkeypatch):
    """Its modules import each other by name, as Python runs a folder."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(PROGRAM)
    yield
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(PROGRAM)):
            del sys.modules[name]


def test_figures_are_those_of_bpr_evaluate():
    from data_sets import bundled
    from measuring import bounds_of, compare, figures_of

    data = bundled()
    coarse, native = data.forms[0].val, data.forms[1].val
    found = figures_of(compare(data, native, native, bounds=True))
    settings = EvaluationSettings(group_by="sequence", upper_bounds=(1, 2, 3))
    said = evaluate(native, data.gt_val, native, settings=settings, quiet=True)
    for name in ("ap", "ap50", "ap_l", "boundary_ap", "af", "iou", "boundary_iou", "contour_f"):
        assert found[name] == pytest.approx(getattr(said.figures, name), abs=1e-9), name
    assert found["harmed"] == said.harmed == 0
    bounds = bounds_of(compare(data, coarse, coarse, bounds=True))
    said = evaluate(coarse, data.gt_val, coarse, settings=settings, quiet=True)
    assert [bounds[str(bound.radius)]["ap"] for bound in said.upper_bounds] == pytest.approx(
        [bound.figures.ap for bound in said.upper_bounds], abs=1e-9
    )


def test_the_draws_of_two_cells_take_the_same_photos():
    from data_sets import UNSEEN, bundled
    from measuring import DRAWS, compare, draws_of

    data = bundled()
    coarse = compare(data, data.forms[0].val, data.forms[0].val, bounds=True)
    draws = draws_of(coarse, bounds=True)
    assert len(draws["ap"]) == DRAWS
    assert len(set(draws["ap"])) > DRAWS / 2
    # A bound lies above the coarse masks in every single draw, which draws of other photos would not show.
    assert all(low < high for low, high in zip(draws["ap"], draws["ap_3"], strict=True))
    assert len(coarse.of(UNSEEN).images) == 10


def test_the_photos_of_training_and_validation_are_of_different_sequences():
    from data_sets import UNSEEN, bundled

    data = bundled()
    train, val = (json.loads(path.read_text())["images"] for path in (data.gt_train, data.gt_val))
    first, second = ({image["sequence"] for image in images} for images in (train, val))
    assert not first & second
    assert set(UNSEEN) < second
    assert all((data.images_train / image["file_name"]).is_file() for image in [*train, *val])


@pytest.fixture
def folder(tmp_path):
    """The bundled data as a user would lay out their own."""
    from data_sets import BUNDLED

    folder = tmp_path / "Mine"
    folder.mkdir()
    for path in (BUNDLED / "paper").glob("*.json"):
        shutil.copy(path, folder)
    (folder / "images").symlink_to(BUNDLED)
    return folder


def test_a_folder_of_ones_own_is_found_and_what_it_lacks_is_named(folder):
    from data_sets import bundled, given

    data = given(folder)
    assert (data.name, [form.name for form in data.forms]) == ("mine", ["results", "results_native"])
    assert data.digest() == bundled().digest()
    for name, what in (
        ("results_val.json", None),
        ("gt_val.json", "ground truth of the val photos"),
        ("images", "photos"),
    ):
        (folder / name).rename(folder / "away")
        if what is None:
            assert [form.name for form in given(folder).forms] == ["results_native"]
        else:
            with pytest.raises(InputError, match=what):
                given(folder)
        (folder / "away").rename(folder / name)
    for path in folder.glob("results*"):
        path.unlink()
    with pytest.raises(InputError, match=r"results_train\.json"):
        given(folder)


def test_other_data_are_told_by_their_content(folder):
    from data_sets import given

    before = given(folder).digest()
    assert given(folder).digest() == before
    gt = folder / "gt_val.json"
    gt.write_text(gt.read_text().replace('"iscrowd":0', '"iscrowd":1', 1))
    assert given(folder).digest() != before


def test_a_cell_is_run_once_and_again_when_what_decides_it_changes(folder, tmp_path):
    from cells import BY_SLUG
    from data_sets import given
    from running import Budget, Runner

    def runner(patches: int) -> Runner:
        return Runner(data, Budget(patches, 0), tmp_path / "cells", tmp_path / "work")

    data = given(folder)
    coarse = BY_SLUG["coarse"]
    assert runner(100).fill(coarse, data.digest())
    assert not runner(100).fill(coarse, data.digest())
    assert not runner(200).fill(coarse, data.digest())  # nothing is trained for it
    assert runner(100).fill(coarse, "other data")
    base = BY_SLUG["base"]
    assert runner(100).identity(base, "") != runner(200).identity(base, "")
    ways = [runner(100).identity(cell, "") for cell in BY_SLUG.values()]
    assert all(ways.count(way) == 1 for way in ways)
