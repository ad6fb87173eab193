"""Best detections: by IoU, within a category, never on a crowd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bpr_cli.evaluation.matching import CodedInstance, best_detections, best_truths, same_class_ious
from bpr_cli.formats.records import Instance
from bpr_cli.masks import crop_mask, encode_rle


def stripe(left: int, width: int = 10, category: int = 1, crowd: bool = False) -> CodedInstance:
    rle = encode_rle(crop_mask(np.ones((10, width), np.uint8), left, 5, 30, 60))
    instance = Instance(0, 1, rle, category, 0.5, crowd, {}, Path("made.json"))
    return CodedInstance(instance, rle)


def test_ious_are_those_of_the_masks_and_zero_across_categories_and_on_crowds() -> None:
    truths = [stripe(0), stripe(0, category=2), stripe(0, crowd=True)]
    ious_DT = same_class_ious([stripe(0), stripe(5), stripe(5, category=2), stripe(0, category=7)], truths)
    assert ious_DT == pytest.approx(np.array([[1, 0, 0], [1 / 3, 0, 0], [0, 1 / 3, 0], [0, 0, 0]]))


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
