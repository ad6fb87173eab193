"""One pixel, one object: masks of one image that are settled among each other."""

from __future__ import annotations

import json
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpr_cli.formats.rle import read_rle
from bpr_cli.masks import crop_mask, to_frame
from bpr_cli.patches import Probabilities
from bpr_cli.refining.exclusive import Contest, settled
from bpr_cli.refining.looks import Refined
from tests.conftest import run_bpr

SIZE = 12


def frame_mask(pixels_HW):
    return crop_mask(pixels_HW, 0, 0, *pixels_HW.shape)


def claim(index, coarse_HW, refined_HW, probabilities_HW=None, seen_HW=None):
    """A refined instance, as the network's looks leave it: pixels that nobody looked at are as they were."""
    probabilities = None
    if probabilities_HW is not None:
        values_HW = np.where(seen_HW, probabilities_HW, refined_HW).astype(np.float32)
        probabilities = Probabilities(values_HW, seen_HW, 0, 0)
    return Refined(index, frame_mask(coarse_HW), frame_mask(refined_HW), 1, probabilities)


def settle(claims, scores, layout, void=None):
    contest = Contest(scores, layout, None if void is None else frame_mask(void))
    found = list(settled(claims, deque([contest])))
    assert [item.index for item in found] == [item.index for item in claims]
    for before, after in zip(claims, found, strict=True):
        assert np.array_equal(to_frame(before.coarse), to_frame(after.coarse))
    return np.array([to_frame(item.mask) for item in found])


@st.composite
def images(draw, are_disjoint):
    """Some instances of an image: coarse masks, answers of a network, refined masks that follow from them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 5))
    shape = (count, SIZE, SIZE)
    if are_disjoint:
        owner_HW = np.kron(random.integers(0, count + 1, (3, 3)), np.ones((4, 4), np.int64))
        coarse_NHW = owner_HW == np.arange(count)[:, None, None]
    else:
        coarse_NHW = np.kron(random.random((count, 3, 3)) < 0.5, np.ones((4, 4), np.bool_))
    seen_NHW = np.kron(random.random((count, 6, 6)) < draw(st.floats(0, 1)), np.ones((2, 2), np.bool_))
    probabilities_NHW = random.choice(np.float32([0.1, 0.4, 0.6, 0.9]), shape)
    refined_NHW = np.where(seen_NHW, probabilities_NHW > 0.5, coarse_NHW)
    scores = draw(st.lists(st.sampled_from([None, 0.2, 0.5]), min_size=count, max_size=count))
    return coarse_NHW, refined_NHW, probabilities_NHW, seen_NHW, scores


def claims_of(image):
    coarse_NHW, refined_NHW, probabilities_NHW, seen_NHW, _ = image
    rows = zip(coarse_NHW, refined_NHW, probabilities_NHW, seen_NHW, strict=True)
    return [claim(10 + i, *row) for i, row in enumerate(rows)]


def wanted_owner(image, y, x):
    """The rule, pixel by pixel; None: nobody claims it."""
    coarse, refined, probabilities, seen, scores = (part if isinstance(part, list) else part[:, y, x] for part in image)
    claimants = np.flatnonzero(refined).tolist()
    if not claimants:
        return None

    def merit(place):
        return (1 if scores[place] is None else scores[place]), coarse[place], -place

    if all(seen[place] for place in claimants):
        return max(claimants, key=lambda place: (probabilities[place], *merit(place)))
    return max(claimants, key=merit)


@settings(max_examples=150, deadline=None)
@given(images(are_disjoint=False))
def test_overlapping_masks_become_disjoint_and_their_union_stays(image):
    refined_NHW = image[1]
    after_NHW = settle(claims_of(image), image[4], "masks")
    assert after_NHW.sum(axis=0).max(initial=0) <= 1
    assert np.array_equal(after_NHW.any(axis=0), refined_NHW.any(axis=0))
    assert not (after_NHW & ~refined_NHW).any()
    owners = [[wanted_owner(image, y, x) for x in range(SIZE)] for y in range(SIZE)]
    wanted_NHW = np.array([[[o == place for o in row] for row in owners] for place in range(len(refined_NHW))])
    if wanted_NHW.any(axis=(1, 2)).tolist() == refined_NHW.any(axis=(1, 2)).tolist():  # nobody would vanish
        assert np.array_equal(after_NHW, wanted_NHW)


@pytest.mark.parametrize(("width", "is_kept"), [(1, True), (4, True), (5, False), (8, False)])
def test_a_mask_that_would_vanish_is_kept_unless_that_cost_another_more_than_half(width, is_kept):
    frame_HW = np.zeros((SIZE, SIZE), np.bool_)
    surer_HW, inner_HW = frame_HW.copy(), frame_HW.copy()
    surer_HW[2:8, 2:10], inner_HW[2:8, 2 : 2 + width] = True, True
    surer, inner = settle([claim(0, surer_HW, surer_HW), claim(1, inner_HW, inner_HW)], [0.9, 0.3], "masks")
    assert np.array_equal(inner, inner_HW if is_kept else frame_HW)
    assert np.array_equal(surer, surer_HW & ~inner_HW if is_kept else surer_HW)


@settings(max_examples=150, deadline=None)
@given(images(are_disjoint=True))
def test_objects_stay_disjoint_keep_off_the_void_and_none_vanishes(image):
    coarse_NHW, refined_NHW = image[:2]
    void_HW = ~coarse_NHW.any(axis=0) & (np.arange(SIZE) < 6)
    after_NHW = settle(claims_of(image), image[4], "objects", void_HW)
    assert after_NHW.sum(axis=0).max(initial=0) <= 1
    assert not (after_NHW.any(axis=0) & void_HW).any()
    assert (after_NHW.any(axis=(1, 2)) >= coarse_NHW.any(axis=(1, 2))).all()
    assert not (after_NHW.astype(bool) & ~(refined_NHW | coarse_NHW)).any()


@settings(max_examples=150, deadline=None)
@given(images(are_disjoint=True))
def test_segments_share_out_exactly_the_pixels_that_they_had(image):
    coarse_NHW, refined_NHW, probabilities_NHW, seen_NHW, _ = image
    after_NHW = settle(claims_of(image), image[4], "segments")
    assert np.array_equal(after_NHW.sum(axis=0), coarse_NHW.any(axis=0))
    assert (after_NHW.any(axis=(1, 2)) >= coarse_NHW.any(axis=(1, 2))).all()
    # A pixel that nobody claims is the surest one's of those who looked, or stays whose it was.
    wanted_NHW = np.where(seen_NHW, probabilities_NHW, -1)
    for y, x in np.argwhere(coarse_NHW.any(axis=0) & ~refined_NHW.any(axis=0))[:20]:
        (owner,) = np.flatnonzero(after_NHW[:, y, x])
        assert wanted_NHW[owner, y, x] == wanted_NHW[:, y, x].max() or coarse_NHW[owner, y, x]


def boxes(*sides):
    frames = np.zeros((len(sides), SIZE, SIZE), np.bool_)
    for frame, (y1, y2, x1, x2) in zip(frames, sides, strict=True):
        frame[y1:y2, x1:x2] = True
    return frames


def test_an_object_on_another_is_not_parted_in_inside_and_rim():
    large, small = boxes((0, 12, 0, 12), (3, 9, 3, 9))
    rim = small & ~boxes((5, 7, 5, 7))[0]
    claims = [claim(0, large, large), claim(1, small, small, np.full(large.shape, 0.7), rim)]
    assert np.array_equal(settle(claims, [0.5, 0.9], "masks")[1].astype(bool), small)
    # With the lower score it would vanish altogether, and is spared.
    assert np.array_equal(settle(claims, [0.9, 0.5], "masks")[1].astype(bool), small)


def test_of_two_tries_at_one_object_the_surer_one_stays_whole():
    (box,) = boxes((2, 10, 2, 10))
    everywhere = np.ones_like(box)
    claims = [claim(i, box, box, np.full(box.shape, p), everywhere) for i, p in enumerate((0.6, 0.8))]
    after = settle(claims, [0.9, 0.9], "masks")
    assert not after[0].any()
    assert np.array_equal(after[1].astype(bool), box)


def test_the_command_writes_masks_that_share_no_pixel(three_photos, tmp_path, small_model):
    records = json.loads(three_photos.results.read_text())
    twice = [{**record, "score": record["score"] / part} for record in records for part in (2, 1)]
    (tmp_path / "twice.json").write_text(json.dumps(twice))
    run = ["refine", tmp_path / "twice.json", "--images", three_photos.images, "--image-info", three_photos.gt]
    run += ["--model", small_model, "--passes", 1, "--caution", 0]
    assert run_bpr(*run, "-q", "-o", tmp_path / "plain.json").returncode == 0
    assert run_bpr(*run, "-q", "-o", tmp_path / "exclusive.json", "--exclusive").returncode == 0
    plain, exclusive = (decoded(tmp_path / f"{name}.json") for name in ("plain", "exclusive"))
    assert [len(masks) for masks in plain.values()] == [len(masks) for masks in exclusive.values()]
    assert any((np.sum(masks, axis=0) > 1).any() for masks in plain.values())
    for before, after in zip(plain.values(), exclusive.values(), strict=True):
        assert np.sum(after, axis=0).max() <= 1
        assert np.array_equal(np.any(before, axis=0), np.any(after, axis=0))


def decoded(path):
    """Image id -> masks (N, H, W)."""
    masks: dict[int, list] = {}
    for record in json.loads(path.read_text()):
        segmentation = record["segmentation"]
        masks.setdefault(record["image_id"], []).append(to_frame(read_rle(segmentation, *segmentation["size"])))
    return masks
