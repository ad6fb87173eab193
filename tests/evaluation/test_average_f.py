"""AF: matched as for AP, averaged over true positives, thresholds and classes, against a slow plain version."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bpr_cli.evaluation.average_f import ContourTally
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.formats import read_results
from tests.evaluation.made import made_set

STEPS = [0.5 + 0.05 * step for step in range(10)]


def frame(segmentation: dict) -> np.ndarray:
    return coco_mask.decode(segmentation).astype(bool)


def plain_contour(mask_HW: np.ndarray) -> np.ndarray:
    """Pixel by pixel: foreground with background among the eight neighbours inside the image."""
    height, width = mask_HW.shape
    line_HW = np.zeros_like(mask_HW)
    for y, x in zip(*np.nonzero(mask_HW), strict=True):
        around_HW = mask_HW[max(y - 1, 0) : min(y + 2, height), max(x - 1, 0) : min(x + 2, width)]
        line_HW[y, x] = not around_HW.all()
    return line_HW


def plain_f_score(first_HW: np.ndarray, second_HW: np.ndarray, tolerance: float) -> float:
    lines = [plain_contour(mask_HW) for mask_HW in (first_HW, second_HW)]
    places = [np.argwhere(line) for line in lines]
    away = np.sqrt(((places[0][:, None] - places[1][None]) ** 2).sum(axis=2))
    precision, recall = (away.min(axis=1) <= tolerance).mean(), (away.min(axis=0) <= tolerance).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_cells(results: Path, gt: Path, tolerance: float) -> dict[tuple[int, int], list[float]]:
    """The F-scores of each class and threshold, by greedy matching on full frames."""
    cells: dict[tuple[int, int], list[float]] = defaultdict(list)
    detections = {entry.image.id: entry.instances for entry in read_results(results).images}
    truth = read_results(gt)
    for entry in truth.images:
        for category in truth.categories:
            objects = [frame(i.segmentation) for i in entry.instances if i.category_id == category and not i.iscrowd]
            found = [i for i in detections.get(entry.image.id, ()) if i.category_id == category]
            found.sort(key=lambda instance: -(instance.score or 0))
            for step, threshold in enumerate(STEPS):
                free = list(range(len(objects)))
                for instance in found:
                    mask_HW = frame(instance.segmentation)
                    ious = {t: (mask_HW & objects[t]).sum() / (mask_HW | objects[t]).sum() for t in free}
                    best = max(ious, key=lambda t: (ious[t], t), default=None)
                    if best is not None and ious[best] >= threshold - 1e-12:
                        free.remove(best)
                        cells[category, step].append(plain_f_score(mask_HW, objects[best], tolerance))
    return cells


@pytest.mark.parametrize("tolerance", [1.0, 2.5])
def test_it_is_that_of_a_slow_plain_version(tmp_path: Path, tolerance: float) -> None:
    results, gt = made_set(tmp_path)
    scored = evaluate(results, gt, settings=EvaluationSettings(tolerance=tolerance), quiet=True).scored
    cells = plain_cells(results, gt, tolerance)

    by_class = [[np.mean(cells[c, s]) for s in range(10) if (c, s) in cells] for c in (1, 2, 3)]
    assert scored.figures.af == pytest.approx(np.mean([np.mean(values) for values in by_class]), abs=1e-12)
    assert scored.figures.af_pooled == pytest.approx(np.mean([f for cell in cells.values() for f in cell]), abs=1e-12)
    assert scored.figures.af_zero == pytest.approx(np.sum([sum(values) for values in by_class]) / 30, abs=1e-12)
    assert scored.cells == (sum(map(len, cells.values())), 30, 30 - len(cells))
    assert 0 < scored.figures.af < 1


def test_cells_without_a_true_positive_are_left_out_and_counted() -> None:
    tally = ContourTally(thresholds=2)
    for category, step, value in ((1, 0, 1.0), (1, 0, 0.5), (1, 1, 0.25), (2, 0, 0.5)):
        tally.add(category, step, value)
    found = tally.average([1, 2, 3])
    assert found.af == pytest.approx(((0.75 + 0.25) / 2 + 0.5) / 2)
    assert found.pooled == pytest.approx(2.25 / 4)
    assert found.zero == pytest.approx((0.75 + 0.25 + 0.5) / 6)
    assert found.cells == (4, 6, 3)
    assert math.isnan(found.by_category[3])


def test_nothing_matched_has_no_f_score() -> None:
    found = ContourTally(thresholds=2).average([1])
    assert math.isnan(found.af)
    assert math.isnan(found.pooled)
    assert found.zero == 0
