"""`evaluate` agrees with pycocotools, counts harm and gain, and says what is wrong with its input."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import faster_coco_eval
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.figures import Evaluation
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask
from tests.conftest import Example
from tests.evaluation.made import HEIGHT, WIDTH, annotation, detection, made_set, write, write_truth


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Two images with two objects of different classes on the first and one on the second."""
    objects = [(1, 1, (5, 5, 20, 20)), (1, 2, (40, 10, 20, 30)), (2, 1, (30, 20, 30, 30))]
    return write_truth(tmp_path / "gt.json", [annotation(i, *item) for i, item in enumerate(objects, 1)])


def run(results: Path, gt: Path, baseline: Path | None = None) -> Evaluation:
    return evaluate(results, gt, baseline, quiet=True)


def reference_stats(results: Path, gt: Path, iou_type: str = "segm") -> list[float]:
    """What pycocotools ("boundary": faster-coco-eval) says of results without `bbox`, whose area it would take."""
    records = [{k: v for k, v in record.items() if k != "bbox"} for record in json.loads(results.read_text())]
    with contextlib.redirect_stdout(io.StringIO()):
        if iou_type == "segm":
            reference = COCO(str(gt))
            counting = COCOeval(reference, reference.loadRes(records), "segm")
        else:
            reference = faster_coco_eval.COCO(str(gt))
            counting = faster_coco_eval.COCOeval_faster(reference, reference.loadRes(records), "boundary")
        counting.evaluate()
        counting.accumulate()
        counting.summarize()
    return [math.nan if value == -1 else float(value) for value in counting.stats]


@pytest.fixture(params=["made", "results", "results_native"])
def real_or_made(request: pytest.FixtureRequest, example: Example, tmp_path: Path) -> tuple[Path, Path]:
    """Results and ground truth."""
    return made_set(tmp_path) if request.param == "made" else (getattr(example, request.param), example.gt)


def test_average_precision_is_that_of_pycocotools(real_or_made: tuple[Path, Path]) -> None:
    found = run(*real_or_made).figures
    names = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar_1", "ar_10", "ar")
    assert [getattr(found, name) for name in names] == pytest.approx(
        reference_stats(*real_or_made)[:9], abs=1e-9, nan_ok=True
    )
    assert 0 < found.boundary_ap < found.ap < 1


def test_boundary_ap_is_that_of_the_library_on_full_frames(real_or_made: tuple[Path, Path]) -> None:
    found = run(*real_or_made).figures
    names = ("", "50", "75", "_s", "_m", "_l")
    assert [getattr(found, f"boundary_ap{name}") for name in names] == pytest.approx(
        reference_stats(*real_or_made, iou_type="boundary")[:6], abs=1e-9, nan_ok=True
    )


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(*made_set(tmp_path))
    assert capfd.readouterr() == ("", "")


def test_perfect_masks_have_perfect_figures(truth: Path, tmp_path: Path) -> None:
    boxes = [(1, 1, (5, 5, 20, 20)), (1, 2, (40, 10, 20, 30)), (2, 1, (30, 20, 30, 30))]
    found = run(write(tmp_path / "r.json", [detection(*box) for box in boxes]), truth)
    assert found.figures.ap == found.figures.boundary_ap == pytest.approx(1)
    assert (found.figures.iou, found.figures.boundary_iou, found.figures.contour_f) == (1, 1, 1)
    assert found.baseline is None
    assert found.difference is None
    assert found.changes == ()


def test_no_detections_have_no_precision(truth: Path, tmp_path: Path) -> None:
    empty = write(tmp_path / "r.json", [])
    found = run(empty, truth, empty)
    assert (found.figures.ap, found.figures.boundary_ap) == (0, 0)
    assert math.isnan(found.figures.iou)
    assert math.isnan(found.harmed)
    assert (found.truths, found.objects, found.detections) == (3, (), 0)


def test_a_vanished_mask_counts_as_harm(truth: Path, tmp_path: Path) -> None:
    before, after = detection(1, 1, (5, 5, 20, 20)), detection(1, 1, (5, 5, 20, 20))
    after["segmentation"] = dict(encode_rle(crop_mask(np.zeros((HEIGHT, WIDTH)), 0, 0, HEIGHT, WIDTH)))
    found = run(write(tmp_path / "after.json", [after]), truth, write(tmp_path / "before.json", [before]))
    assert found.harmed == 1
    assert (found.figures.ap, found.figures.boundary_ap, found.figures.contour_f) == (0, 0, 0)


def test_ground_truth_without_objects_has_no_figures(tmp_path: Path) -> None:
    gt = write_truth(tmp_path / "gt.json", [])
    assert math.isnan(run(write(tmp_path / "r.json", [detection(1, 1, (5, 5, 9, 9))]), gt).figures.ap)


def test_gain_and_harm_are_counted_on_detections_that_matched_before(truth: Path, tmp_path: Path) -> None:
    before = [
        detection(1, 1, (5, 5, 20, 16)),  # IoU .8, becomes 1
        detection(1, 2, (40, 10, 20, 27)),  # .9, stays
        detection(2, 1, (30, 20, 30, 30)),  # 1, becomes .5
        detection(2, 1, (30, 20, 30, 29)),  # .967, becomes .933
        detection(2, 1, (0, 0, 9, 9)),  # on nothing: not counted
    ]
    after = [
        detection(1, 1, (5, 5, 20, 20)),
        before[1],
        detection(2, 1, (30, 20, 15, 30)),
        detection(2, 1, (30, 20, 30, 28)),
        detection(2, 1, (30, 20, 30, 30)),
    ]
    found = run(write(tmp_path / "after.json", after), truth, write(tmp_path / "before.json", before))
    assert (found.improved, found.unchanged, found.harmed) == (0.25, 0.25, 0.5)
    rows = [(row.image_id, row.index, row.truth, row.iou_before, row.iou_after) for row in found.changes]
    assert rows == [
        (1, 0, 0, pytest.approx(0.8), 1.0),
        (1, 1, 1, pytest.approx(0.9), pytest.approx(0.9)),
        (2, 2, 2, 1.0, 0.5),
        (2, 3, 2, pytest.approx(29 / 30), pytest.approx(28 / 30)),
    ]
    # The object of image 2 is compared with the detection that was best before, though others are better now.
    assert [item.detection for item in found.objects] == [0, 1, 2]
    assert found.difference is not None
    assert found.difference.iou == pytest.approx((1 + 0.9 + 0.5 - 0.8 - 0.9 - 1) / 3)
    assert found.baseline is not None
    assert found.baseline.iou == pytest.approx((0.8 + 0.9 + 1) / 3)


def test_a_file_compared_with_itself_changes_nothing(tmp_path: Path) -> None:
    results, gt = made_set(tmp_path)
    found = run(results, gt, results)
    assert found.baseline == found.figures
    assert found.unchanged == 1
    assert all(item.before == item.after for item in found.objects)


def test_polygons_and_plain_rle_are_evaluated_too(truth: Path, tmp_path: Path) -> None:
    polygon = detection(1, 1, (0, 0, 1, 1))
    polygon["segmentation"] = [[5, 5, 25, 5, 25, 25, 5, 25]]
    plain = detection(2, 1, (0, 0, 1, 1))
    frame_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
    frame_HW[20:50, 30:60] = 1
    columns = frame_HW.ravel(order="F")
    edges = np.flatnonzero(np.diff(columns)) + 1
    counts = np.diff(np.concatenate([[0], edges, [columns.size]])).tolist()
    plain["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": counts}
    found = run(write(tmp_path / "r.json", [polygon, plain]), truth)
    assert [item.after.iou for item in found.objects] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, "annotation 1: the detection has no score"),
        ({"image_id": 77}, "image 77, annotation 1: this image id is not in the ground truth"),
        ({"category_id": None}, "annotation 1: the detection has no category_id"),
        ({"category_id": 9}, "category 9 is not in the ground truth"),
    ],
)
def test_unusable_detections_are_named(truth: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    bad = {**detection(1, 1, (5, 5, 20, 20)), **change}
    bad = {name: value for name, value in bad.items() if value is not None}
    results = write(tmp_path / "r.json", [detection(1, 1, (5, 5, 20, 20)), bad])
    with pytest.raises(InputError, match=message) as caught:
        run(results, truth)
    assert caught.value.file == results


def test_a_mask_of_another_size_than_its_image_is_named(truth: Path, tmp_path: Path) -> None:
    bad = detection(1, 1, (5, 5, 20, 20))
    bad["segmentation"] = dict(encode_rle(crop_mask(np.ones((9, 9), np.uint8), 0, 0, 30, 40)))
    with pytest.raises(InputError, match="annotation 0"):
        run(write(tmp_path / "r.json", [bad]), truth)


def test_images_without_a_size_take_it_from_their_masks_or_are_named(truth: Path, tmp_path: Path) -> None:
    document = json.loads(truth.read_text())
    for image in document["images"]:
        del image["height"], image["width"]
    results = write(tmp_path / "r.json", [detection(1, 1, (5, 5, 20, 20))])
    assert run(results, write(tmp_path / "sizes.json", document)).figures.iou == 1
    document["annotations"].pop()
    with pytest.raises(InputError, match="image 2: the image has no height and width"):
        run(results, write(tmp_path / "none.json", document))


def test_results_are_no_ground_truth(truth: Path, tmp_path: Path) -> None:
    results = write(tmp_path / "r.json", [detection(1, 1, (5, 5, 20, 20))])
    with pytest.raises(InputError, match="not ground truth"):
        run(truth, results)


def test_a_baseline_with_other_detections_is_refused(truth: Path, tmp_path: Path) -> None:
    both = [detection(1, 1, (5, 5, 20, 20)), detection(1, 2, (40, 10, 20, 30))]
    results = write(tmp_path / "r.json", both)
    with pytest.raises(InputError, match=r"holds 2 detections, its baseline .* 1"):
        run(results, truth, write(tmp_path / "fewer.json", both[:1]))
    with pytest.raises(InputError, match="image 1, annotation 0: it is not the detection at this place"):
        run(results, truth, write(tmp_path / "turned.json", both[::-1]))


def test_images_of_more_pixels_than_allowed_are_refused(three_photos):
    with pytest.raises(InputError, match="--max-pixels"):
        evaluate(three_photos.results, three_photos.gt, max_pixels=1000, quiet=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": [7]}, r"annotation 0: the annotation id is \[7\] \(a list\)"),
        ({"id": 2}, "the annotation id 2 is used twice"),
        ({"area": -1}, "its area is -1"),
        ({"area": "400"}, "its area is '400'"),
        ({"area": 10**400}, "its area is 1000"),
        ({"category_id": 5}, "category 5 is not among the file's categories"),
    ],
)
def test_unusable_objects_are_named(truth: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    document = json.loads(truth.read_text())
    document["annotations"][0].update(change)
    bad = write(tmp_path / "bad.json", document)
    with pytest.raises(InputError, match=message) as caught:
        run(write(tmp_path / "r.json", [detection(1, 1, (5, 5, 20, 20))]), bad)
    assert caught.value.file == bad


@pytest.mark.parametrize("number", [[1], True, 2**63])
def test_categories_whose_ids_are_no_numbers_are_named(truth: Path, tmp_path: Path, number: object) -> None:
    document = json.loads(truth.read_text())
    document["categories"][0]["id"] = number
    with pytest.raises(InputError, match=r"gt\.json: .*category.* id"):
        run(write(tmp_path / "r.json", []), write(truth, document))


def test_an_object_without_a_stated_area_has_that_of_its_mask(truth: Path, tmp_path: Path) -> None:
    document = json.loads(truth.read_text())
    document["annotations"][0]["area"] = None
    found = run(write(tmp_path / "r.json", [detection(1, 1, (5, 5, 20, 20))]), write(truth, document))
    assert found.objects[0].area == 400


def test_an_image_id_of_another_type_is_called_that(truth: Path, tmp_path: Path) -> None:
    document = json.loads(truth.read_text())
    for record in (*document["images"], *document["annotations"]):
        key = "id" if "file_name" in record else "image_id"
        record[key] = f"photo {record[key]}"
    renamed = write(tmp_path / "strings.json", document)
    assert run(write(tmp_path / "r.json", [detection("photo 1", 1, (5, 5, 20, 20))]), renamed).figures.iou == 1
    with pytest.raises(InputError, match="image 1, annotation 0: this image id is not in the ground truth"):
        run(write(tmp_path / "r.json", [detection(1, 1, (5, 5, 20, 20))]), renamed)
