"""Segmentations that are not what they seem: refused, left out part by part, or left as they were."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from bpr_cli.errors import InputError
from bpr_cli.formats.plausibility import decode_masks
from bpr_cli.formats.records import Instance
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import compress_mask, decode_mask
from bpr_cli.masks import crop_mask, to_frame

HEIGHT, WIDTH = 120, 200
SQUARE = [50, 30, 90, 30, 90, 70, 50, 70]
OTHER = [100, 30, 120, 30, 120, 60, 100, 60]


def instance_of(segmentation, **fields):
    return Instance(3, 139, segmentation, 1, 0.5, False, fields, Path("in.json"))


def runs_of(flat):
    ends = np.flatnonzero(np.diff(flat, prepend=1 - flat[0], append=1 - flat[-1]))
    runs = np.diff(ends).tolist()
    return [0, *runs] if flat[0] else runs


def blob(height=HEIGHT, width=WIDTH):
    frame = np.zeros((height, width), np.uint8)
    cv2.ellipse(frame, (width // 2, height // 2), (width // 3, height // 4), 20, 0, 360, 1, -1)
    cv2.ellipse(frame, (width // 3, height // 3), (width // 9, height // 5), 60, 0, 360, 1, -1)
    return frame


def compressed(counts, height, width):
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode()}


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (WIDTH, HEIGHT), (427, 640), (100, 200)])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_runs_along_rows_are_refused_and_runs_down_columns_are_not(size, is_compressed):
    frame = blob(*size)
    for order, says in ((frame.ravel(), "runs along rows"), (frame.T.ravel(), None)):
        counts = runs_of(order)
        segmentation = compressed(counts, *size) if is_compressed else {"size": list(size), "counts": counts}
        for read in (decode_mask, compress_mask):
            if says is None:
                read(instance_of(segmentation), *size)
            else:
                with pytest.raises(InputError, match=f"image 139, annotation 3: the RLE {says}"):
                    read(instance_of(segmentation), *size)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(60, 90), (90, 60), (40, 80), (80, 40), (50, 55)]))
def test_no_mask_with_runs_down_its_columns_is_taken_for_one_along_rows(seed, size):
    random = np.random.default_rng(seed)
    height, width = size
    frame = np.zeros(size, np.uint8)
    for _ in range(random.integers(1, 5)):
        centre = (int(random.integers(width)), int(random.integers(height)))
        axes = (int(random.integers(1, width)), int(random.integers(1, height // 2)))
        cv2.ellipse(frame, centre, axes, float(random.integers(180)), 0, 360, 1, int(random.choice([-1, 1, 3])))
    if seed % 4 == 0:
        frame |= (random.random(size) < 0.1).astype(np.uint8)
    rle = encode_rle(crop_mask(frame, 0, 0, *size))
    assert np.array_equal(to_frame(decode_mask(instance_of(rle), *size)), frame)


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        ([[0.1, 0.2, 0.5, 0.2, 0.5, 0.9]], "between 0 and 1, fractions of the photo"),
        ([[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0, 1], [0.1, 0.1, 0.2, 0.2, 0.3, 0.1]], "fractions"),
        ([[-0.01, 0.2, 1.02, 0.2, 0.5, 0.9]], "fractions"),
        ([runs_of(blob().T.ravel())], "RLE counts, not polygons"),
        (runs_of(blob().T.ravel()), "RLE counts, not polygons"),
        ([{"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}], "RLE, not polygons"),
        (["abc123"], "not polygons"),
        (SQUARE, "the segmentation is one itself"),
        ([[50, 30], [90, 30], [90, 70]], "polygon 0 is not"),
    ],
)
def test_other_things_than_polygons_in_pixels_are_called_by_their_name(segmentation, says):
    for left_out in (None, []):
        with pytest.raises(InputError, match=says) as refused:
            decode_mask(instance_of(segmentation), HEIGHT, WIDTH, left_out)
        assert refused.value.remedy


@pytest.mark.parametrize("bad", [[], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, float("nan")], None, "x"])
def test_a_bad_polygon_among_good_ones_is_left_out_by_itself_where_that_is_asked_for(bad):
    instance = instance_of([SQUARE, bad, OTHER])
    with pytest.raises(InputError, match="polygon 1"):
        decode_mask(instance, HEIGHT, WIDTH)
    masks, skipped = decode_masks([instance], HEIGHT, WIDTH, skip_bad=True)
    assert np.array_equal(to_frame(masks[0]), to_frame(decode_mask(instance_of([SQUARE, OTHER]), HEIGHT, WIDTH)))
    assert str(skipped) == "1 polygon left out"
    assert skipped.lines[0].startswith("in.json, image 139, annotation 3: polygon 1 ")


@pytest.mark.parametrize("nothing", [[], [[]], [[1, 2, 3, 4], [5, 6]]])
def test_an_instance_without_a_good_polygon_is_left_as_it_was_and_the_others_are_used(nothing):
    instances = [instance_of([SQUARE]), instance_of(nothing), instance_of([OTHER])]
    with pytest.raises(InputError, match="annotation 3"):
        decode_masks(instances, HEIGHT, WIDTH, skip_bad=False)
    masks, skipped = decode_masks(instances, HEIGHT, WIDTH, skip_bad=True)
    assert list(masks) == [0, 2]
    assert (skipped.instances, skipped.polygons, len(skipped.lines)) == (1, 0, 1)


@pytest.mark.parametrize(
    ("bbox", "says"),
    [
        ([100, 90, 30, 20], "has hardly a pixel of its mask, which lies in [50, 30, 40, 40]"),
        ([0.25, 0.25, 0.2, 0.33], "is in fractions of the photo"),
        ([85, 65, 100, 50], "hardly"),
    ],
)
def test_a_mask_outside_its_box_is_left_as_it_was_without_being_asked(bbox, says):
    masks, skipped = decode_masks([instance_of([SQUARE], bbox=bbox)], HEIGHT, WIDTH, skip_bad=False)
    assert masks == {}
    assert skipped.instances == 1
    assert says in skipped.lines[0]


@pytest.mark.parametrize(
    "bbox",
    [
        [50, 30, 40, 40],
        [60, 40, 20, 20],  # a quarter: masks leak
        [50, 30, 90, 70],  # corners instead of width and height
        [0, 0, 0, 0],  # detectron2 writes that for models without boxes
        [0, 0, 0, 1],
        None,
        "50 30 40 40",
        [50, 30, 40],
        [50, 30, float("nan"), 40],
        [10**400, 30, 40, 40],
    ],
)
def test_a_box_that_holds_a_part_of_the_mask_or_says_nothing_is_no_cause_for_doubt(bbox):
    masks, skipped = decode_masks([instance_of([SQUARE], bbox=bbox)], HEIGHT, WIDTH, skip_bad=False)
    assert list(masks) == [0]
    assert not skipped.lines


def test_polygons_that_cover_no_pixel_are_left_as_they_were_and_an_empty_rle_is_a_mask():
    empty = encode_rle(crop_mask(np.zeros((HEIGHT, WIDTH)), 0, 0, HEIGHT, WIDTH))
    instances = [instance_of([[50.1, 30.1, 50.3, 30.1, 50.2, 30.3]]), instance_of([[500, 9, 510, 9, 505, 19]])]
    masks, skipped = decode_masks([*instances, instance_of(empty)], HEIGHT, WIDTH, skip_bad=False)
    assert list(masks) == [2]
    assert all("its polygons cover no pixel" in line for line in skipped.lines)
    assert skipped.instances == 2
