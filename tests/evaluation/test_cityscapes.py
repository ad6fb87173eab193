"""Cityscapes' own figures: those of its script, on any part of its images, from folders and from COCO JSON."""

from __future__ import annotations

import importlib
import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.evaluation.figures import Evaluation
from bpr_cli.formats import read_results
from bpr_cli.formats.segmentation import compress_mask
from tests.cityscapes_made import CAR, HEIGHT, PERSON, SCENES, VOID, WIDTH, Made, Scene, make
from tests.conftest import run_bpr

pytest.importorskip("cityscapesscripts")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path)


def run(made: Made, baseline: Path | None = None) -> Evaluation:
    return evaluate(made.results, made.gt, baseline, quiet=True)


def test_the_figures_are_those_of_the_benchmarks_own_run(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = run(made).figures

    script = importlib.import_module("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    monkeypatch.setattr(script, "writeDict2JSON", lambda *_: None)  # cannot write what numpy 2 counts
    names = sorted(str(path) for path in made.gt.rglob("*_instanceIds.png"))
    predictions = [str(made.results / f"{scene.name}_pred.txt") for scene in SCENES]
    args = SimpleNamespace(**vars(script.args))
    args.quiet, args.JSONOutput, args.predictionPath = True, False, str(made.results)
    args.gtInstancesFile = str(made.results / "gtInstances.json")
    official = script.evaluateImgLists(predictions, names, args)["averages"]

    assert figures.cityscapes_ap == pytest.approx(official["allAp"], abs=1e-12)
    assert figures.cityscapes_ap50 == pytest.approx(official["allAp50%"], abs=1e-12)
    assert 0 < figures.cityscapes_ap < figures.cityscapes_ap50 <= 1


def test_no_file_is_left_behind(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    before = set(made.gt.parent.parent.rglob("*"))
    run(made)
    assert list(empty.iterdir()) == []
    assert set(made.gt.parent.parent.rglob("*")) == before


def test_classes_that_a_part_lacks_have_no_figure(made: Made) -> None:
    found = run(made)
    assert math.isnan(found.scored.cityscapes_classes["train"][0])
    assert found.scored.cityscapes_classes["car"][0] > 0
    assert found.rules == "cityscapes"
    assert found.boundary_ratio == 0.005


def test_an_overlap_of_exactly_one_half_is_none(tmp_path: Path) -> None:
    scene = Scene("a_000000_000000", [(26000, (0, 0, 40, 40))], [(CAR, 0.9, (0, 0, 40, 20))])
    assert run(make(tmp_path, [scene])).figures.cityscapes_ap50 == 0


def test_predictions_on_void_and_groups_and_small_regions_do_not_count(tmp_path: Path) -> None:
    truths = [(VOID, (0, 0, 40, 40)), (CAR, (60, 0, 120, 40)), (26001, (130, 0, 138, 8)), (26000, (0, 60, 40, 90))]
    false_alarms = [(CAR, 0.95, (0, 0, 40, 40)), (CAR, 0.94, (60, 0, 120, 40)), (CAR, 0.93, (130, 0, 138, 8))]
    scene = Scene("a_000000_000000", truths, [*false_alarms, (CAR, 0.9, (0, 60, 40, 90))])
    assert run(make(tmp_path, [scene])).figures.cityscapes_ap == pytest.approx(1)


def test_a_class_of_which_every_prediction_is_ignored_counts_as_not_found(tmp_path: Path) -> None:
    truths = [(VOID, (0, 0, 40, 40)), (26000, (60, 0, 120, 40)), (24000, (0, 60, 40, 90))]
    scene = Scene("a_000000_000000", truths, [(CAR, 0.9, (0, 0, 40, 40)), (PERSON, 0.9, (0, 60, 40, 90))])
    found = run(make(tmp_path, [scene])).scored
    assert found.cityscapes_classes["car"] == (0, 0)
    assert found.figures.cityscapes_ap == pytest.approx(0.5)


def as_coco(made: Made, folder: Path) -> tuple[Path, Path]:
    """The results folder as a COCO results list with ids of its own, and the list of images and classes."""
    results = read_results(made.results)
    images = [
        {"id": number, "file_name": f"x/{entry.image.id}_leftImg8bit.png", "height": HEIGHT, "width": WIDTH}
        for number, entry in enumerate(results.images, start=1)
    ]
    ids = {image["file_name"][2:22]: image["id"] for image in images}
    classes = {PERSON: 1, CAR: 3}
    records = [
        {
            "image_id": ids[str(entry.image.id)],
            "category_id": classes[instance.category_id or 0],
            "score": instance.score,
            "segmentation": compress_mask(instance, HEIGHT, WIDTH),
        }
        for entry in results.images
        for instance in entry.instances
    ]
    info = {"images": images, "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]}
    (folder / "coco.json").write_text(json.dumps(records))
    (folder / "info.json").write_text(json.dumps(info))
    return folder / "coco.json", folder / "info.json"


def test_coco_results_are_scored_alike(made: Made, tmp_path: Path) -> None:
    results, info = as_coco(made, tmp_path)
    found = evaluate(results, made.gt, image_info=info, quiet=True)
    assert found.figures.cityscapes_ap == run(made).figures.cityscapes_ap
    assert found.figures.boundary_ap == run(made).figures.boundary_ap


def test_coco_results_whose_images_cannot_be_told_are_refused(made: Made, tmp_path: Path) -> None:
    results, _ = as_coco(made, tmp_path)
    with pytest.raises(InputError, match=r"image 1: the image's file name is not known.*--image-info"):
        evaluate(results, made.gt, quiet=True)


def test_cities_are_groups(made: Made) -> None:
    found = evaluate(made.results, made.gt, made.results, settings=EvaluationSettings(group_by="city"), quiet=True)
    assert {change.group for change in found.changes} == {"aachen"}


def test_refined_folders_keep_names_order_and_count(made: Made, small_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "refined"
    done = run_bpr("refine", made.results, "-o", out, "--images", made.photos, "--model", small_model, "-q")
    assert done.returncode == 0, done.stderr
    before, after = (sorted(os.listdir(folder)) for folder in (made.results, out))
    assert before == after
    for path in made.results.glob("*.txt"):
        assert (out / path.name).read_text() == path.read_text()
    masks = [np.unique(compress_read(path)) for path in out.glob("*.png")]
    assert all(set(values) <= {0, 255} for values in masks)
    assert run(Made(made.photos, made.gt, out), made.results).detections == 7
    assert "7 instances" in done.stdout


def compress_read(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image)


def test_patches_are_extracted_from_cityscapes_folders(made: Made, tmp_path: Path) -> None:
    done = run_bpr(
        *("extract", "--images", made.photos, "--gt", made.gt, "--results", made.results, "-o", tmp_path / "shards"),
        *("--split-by", "city", "--val-fraction", "0", "--processes", "1", "-q"),
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "shards" / "manifest.json").read_text())
    assert manifest["splits"]["train"]["patches"] > 10


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png 26", "line 1: 'a.png 26' is not three words"),
        ("gone.png 26 0.5", "line 1: there is no mask gone.png"),
        ("../../x.png 26 0.5", "lies outside the folder"),
        ("{mask} 7 0.5", "'7' '0.5' is not a label id and a score"),
        ("{mask} 26 nan", "is not a label id and a score"),
        ("{mask} 26 0.5\n{mask} 26 0.4", "line 2: the mask .* is listed before"),
    ],
)
def test_broken_lines_are_named(made: Made, line: str, message: str) -> None:
    path = made.results / "aachen_000000_000019_pred.txt"
    path.write_text(line.format(mask="aachen_000000_000019_0.png") + "\n")
    with pytest.raises(InputError, match=message) as caught:
        read_results(made.results)
    assert caught.value.file == path


def test_ground_truth_cannot_be_refined(made: Made, tmp_path: Path) -> None:
    done = run_bpr("refine", made.gt, "-o", tmp_path / "out", "--images", made.photos, "-q")
    assert done.returncode == 2
    assert "ground truth" in done.stderr


def test_the_output_may_not_lie_in_the_input(made: Made) -> None:
    done = run_bpr("refine", made.results, "-o", made.results / "out", "--images", made.photos, "-q")
    assert done.returncode == 2
    assert not (made.results / "out").exists()


def test_a_label_that_cityscapes_does_not_have_is_named_with_its_file(tmp_path: Path) -> None:
    scene = Scene("a_000000_000000", [(26000, (0, 0, 40, 40)), (51, (60, 0, 90, 40))], [(CAR, 0.9, (0, 0, 40, 40))])
    made = make(tmp_path, [scene])
    with pytest.raises(InputError, match="label id 51 is none of Cityscapes'") as caught:
        run(made)
    assert Path(str(caught.value.file)).name == "a_000000_000000_gtFine_instanceIds.png"
