"""Best detections: by IoU, within a category, never on a crowd. True positives: those of pycocotools."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bpr_cli.evaluation.matching import (
    THRESHOLDS,
    CodedInstance,
    best_detections,
    best_truths,
    same_class_ious,
    true_positives,
    without_ignored,
)
from bpr_cli.evaluation.rules import Rules, coded_detections, coded_objects
from bpr_cli.formats import read_results
from bpr_cli.formats.records import Instance
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask
from tests.evaluation.made import HEIGHT, WIDTH, made_set


def stripe(left: int, width: int = 10, category: int = 1, crowd: bool = False) -> CodedInstance:
    rle = encode_rle(crop_mask(np.ones((10, width), np.uint8), left, 5, 30, 60))
    instance = Instance(0, 1, rle, category, 0.5, crowd, {}, Path("made.json"))
    return CodedInstance(instance, rle, 10.0 * width, is_ignored=crowd)


def test_ious_are_those_of_the_masks_and_zero_across_categories() -> None:
    truths = [stripe(0), stripe(0, category=2), stripe(0, 15, crowd=True)]
    ious_DT = same_class_ious([stripe(0), stripe(5), stripe(5, category=2), stripe(0, category=7)], truths)
    inside = 1.0  # of a crowd, the share of the detection that lies in it
    assert ious_DT == pytest.approx(np.array([[1, 0, inside], [1 / 3, 0, inside], [0, 1 / 3, 0], [0, 0, 0]]))
    assert without_ignored(ious_DT, truths)[:, 2].tolist() == [0, 0, 0, 0]


def test_each_object_gets_the_detection_that_overlaps_it_most() -> None:
    detections, truths = [stripe(3), stripe(1), stripe(21)], [stripe(0), stripe(20), stripe(45)]
    found = best_detections(same_class_ious(detections, truths))
    assert [(match.truth, match.detection) for match in found] == [(0, 1), (1, 2)]
    assert found[0].iou == pytest.approx(9 / 11)


def test_the_first_of_equal_detections_is_taken() -> None:
    assert best_detections(same_class_ious([stripe(2), stripe(2)], [stripe(0)]))[0].detection == 0


def test_each_detection_gets_its_best_object_if_that_is_good_enough() -> None:
    ious_DT = same_class_ious([stripe(0), stripe(4), stripe(20)], [stripe(0), stripe(1)])
    assert [(match.detection, match.truth) for match in best_truths(ious_DT, above=0.5)] == [(0, 0), (1, 1)]


def test_nothing_matches_on_an_empty_image() -> None:
    for detections, truths in (([], [stripe(0)]), ([stripe(0)], []), ([], [])):
        ious_DT = same_class_ious(detections, truths)
        assert best_detections(ious_DT) == []
        assert best_truths(ious_DT) == []


@pytest.mark.parametrize("limit", [100, 2])
def test_true_positives_are_those_of_pycocotools(tmp_path: Path, limit: int) -> None:
    results, gt = made_set(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(gt))
        counting = COCOeval(reference, reference.loadRes(str(results)), "segm")
        counting.params.maxDets = [limit]
        counting.params.areaRng, counting.params.areaRngLbl = [[0, 1e10]], ["all"]
        counting.evaluate()
    expected = set()
    for cell in filter(None, counting.evalImgs):
        for step, row in enumerate(cell["dtMatches"]):
            for detection, truth, ignored in zip(cell["dtIds"], row, cell["dtIgnore"][step], strict=True):
                if truth and not ignored:
                    expected.add((step, detection - 1, int(truth) - 1))

    found = set()
    detections = {entry.image.id: entry.instances for entry in read_results(results).images}
    for entry in read_results(gt).images:
        coded = (
            coded_detections(detections.get(entry.image.id, ()), HEIGHT, WIDTH),
            coded_objects(entry.instances, HEIGHT, WIDTH, Rules([1, 2, 3])),
        )
        for step, matches in enumerate(true_positives(same_class_ious(*coded), *coded, limit)):
            for match in matches:
                detection, truth = coded[0][match.detection].instance, coded[1][match.truth].instance
                found.add((step, detection.index, truth.index))
    assert len(THRESHOLDS) == 10
    assert len(found) > 30
    assert found == expected
