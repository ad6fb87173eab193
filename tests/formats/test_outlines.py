"""Polygons of masks are the masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bpr_cli.formats.outlines import mask_polygons
from bpr_cli.formats.polygons import polygons_mask
from bpr_cli.masks import crop_mask, intersection_over_union, to_frame


@st.composite
def masks(draw):
    """Noise, or smooth shapes with holes and several parts, up to the border."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    noise_HW = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random((height, width))
    if draw(st.booleans()):
        noise_HW = cv2.GaussianBlur(noise_HW, (0, 0), draw(st.floats(0.5, 4)))
    pixels_HW = noise_HW >= np.quantile(noise_HW, draw(st.floats(0.05, 0.95)))
    return crop_mask(pixels_HW, 0, 0, height, width)


@settings(deadline=None)
@given(masks())
def test_polygons_filled_again_are_the_mask(mask):
    assume(max(mask.box_xyxy) > 1)  # the first pixel's alone would pass for fractions of the photo
    polygons = mask_polygons(mask)
    refilled = polygons_mask(polygons, mask.image_height, mask.image_width)
    assert intersection_over_union(refilled, mask) >= 0.99


@settings(deadline=None)
@given(masks())
def test_there_is_a_polygon_for_each_connected_part(mask):
    count, _ = cv2.connectedComponents(to_frame(mask), connectivity=8)
    assert len(mask_polygons(mask)) == count - 1


@settings(deadline=None)
@given(masks())
def test_no_point_of_an_outline_is_farther_than_half_a_pixel_from_the_edge_of_the_mask(mask):
    padded_HW = np.pad(to_frame(mask), 1)
    corners = [np.pad(padded_HW, ((dy, 1 - dy), (dx, 1 - dx))) for dy in (0, 1) for dx in (0, 1)]
    on_edge_HW = (sum(corners) % 4 != 0).astype(np.uint8)  # pixel corners where the mask's edge passes
    distance_HW = cv2.distanceTransform(1 - on_edge_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    for polygon in mask_polygons(mask):
        for x, y in np.reshape(polygon, (-1, 2)):
            near = distance_HW[[int(np.floor(y)) + 1, int(np.ceil(y)) + 1], [int(np.floor(x)) + 1, int(np.ceil(x)) + 1]]
            assert near.min() == 0


def test_an_empty_mask_has_no_polygons():
    assert mask_polygons(crop_mask(np.zeros((4, 5), np.uint8), 0, 0, 4, 5)) == []


@pytest.mark.parametrize("angle", range(0, 90, 15))
def test_straight_edges_take_fewer_points_than_sides_of_pixels(angle):
    square_42 = cv2.boxPoints(((200, 200), (150, 150), angle))
    frame_HW = cv2.fillPoly(np.zeros((400, 400), np.uint8), [square_42.astype(np.int32)], 1)
    (polygon,) = mask_polygons(crop_mask(frame_HW, 0, 0, 400, 400))
    sides = np.count_nonzero(np.diff(frame_HW, axis=0)) + np.count_nonzero(np.diff(frame_HW, axis=1))
    assert len(polygon) / 2 < 0.6 * sides
