"""Masks that cannot be used are counted for what they are, and named."""

from __future__ import annotations

import json

import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.reading import read_inputs

SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]
BROKEN = {"size": [20, 30], "counts": "0"}


@pytest.fixture
def saved(tmp_path):
    def save(detections, truths=(SQUARE,), **changes):
        annotations = [
            {"id": i, "image_id": 1, "category_id": 1, "segmentation": mask, **changes} for i, mask in enumerate(truths)
        ]
        truth = {
            "images": [{"id": 1, "height": 20, "width": 30}],
            "annotations": annotations,
            "categories": [{"id": 1}],
        }
        results = [
            {"image_id": 1, "category_id": 1, "score": 0.9 - 0.1 * i, "segmentation": mask}
            for i, mask in enumerate(detections)
        ]
        paths = [tmp_path / "results.json", tmp_path / "gt.json"]
        for path, document in zip(paths, (results, truth), strict=True):
            path.write_text(json.dumps(document))
        return paths

    return save


def test_a_detection_without_a_polygon_is_one_that_hits_nothing(saved):
    paths = saved([[], SQUARE])
    assert evaluate(*paths, quiet=True).scored.figures.ap == pytest.approx(0.5)
    (line,) = read_inputs(*paths).unusable
    assert "annotation 0: the list of polygons is empty" in line


def test_a_broken_detection_is_refused_or_on_demand_one_that_hits_nothing(saved):
    paths = saved([BROKEN, [*SQUARE, [1, 2]]])
    with pytest.raises(InputError, match="annotation 0"):
        evaluate(*paths, quiet=True)
    assert evaluate(*paths, skip_bad=True, quiet=True).scored.figures.ap == pytest.approx(0.5)
    unusable = read_inputs(*paths, skip_bad=True).unusable
    assert [("annotation 0" in line, "annotation 1: polygon 1" in line) for line in unusable] == [
        (True, False),
        (False, True),
    ]


def test_a_broken_object_is_refused_or_on_demand_does_not_count(saved):
    paths = saved([SQUARE], truths=[SQUARE, []])
    with pytest.raises(InputError, match=r"gt\.json, image 1, annotation 1"):
        evaluate(*paths, quiet=True)
    evaluation = evaluate(*paths, skip_bad=True, quiet=True)
    assert (evaluation.truths, evaluation.scored.figures.ap) == (1, pytest.approx(1.0))


@pytest.mark.parametrize("number", [[1], {"a": 1}, True])
def test_an_annotation_id_that_is_none_is_named_with_its_type(saved, number):
    with pytest.raises(InputError, match=r"annotation 0: the annotation id is .*\((a list|an object|a boolean)\)"):
        evaluate(*saved([SQUARE], id=number), quiet=True)


def test_an_id_of_another_type_than_the_images_is_named_with_both(saved):
    results, gt = saved([SQUARE])
    results.write_text(results.read_text().replace('"image_id": 1', '"image_id": "01"'))
    with pytest.raises(InputError, match=r"image 01.*it is a string, each of them an integer"):
        evaluate(results, gt, quiet=True)
    results.write_text(results.read_text().replace('"01"', '"1"'))
    assert evaluate(results, gt, quiet=True).scored.figures.ap == pytest.approx(1.0)
