"""The other detections around an instance."""

import numpy as np

from bpr_cli.masks import crop_mask
from bpr_cli.patches import window_around
from bpr_cli.refining.neighbours import CERTAIN, find_neighbours, neighbour_levels

HEIGHT, WIDTH = 100, 200


def rectangle(x1, y1, x2, y2):
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    frame[y1:y2, x1:x2] = 1
    return crop_mask(frame, 0, 0, HEIGHT, WIDTH)


def test_a_neighbour_counts_by_its_score_beside_the_own():
    masks = [rectangle(10, 10, 40, 40), rectangle(40, 10, 70, 40), rectangle(10, 40, 40, 70)]
    found = find_neighbours(masks, [0.8, 0.4, 0.6], reach=64)[0]
    assert [neighbour.level for neighbour in found] == [128, 191]


def test_junk_and_second_tries_are_no_neighbours():
    masks = [rectangle(10, 10, 40, 40), rectangle(12, 10, 40, 40), rectangle(40, 10, 70, 40), rectangle(10, 40, 40, 70)]
    found = find_neighbours(masks, [0.8, 0.7, 0.0001, 0.9], reach=64)[0]
    assert [neighbour.level for neighbour in found] == [CERTAIN]


def test_levels_lie_where_the_neighbours_do():
    masks = [rectangle(10, 10, 40, 40), rectangle(30, 0, 200, 100)]
    window = window_around(masks[0], np.array([[0, 0, 64, 64]]))
    levels = neighbour_levels(find_neighbours(masks, None, reach=64)[0], window)
    assert (levels.pixels_HW[:, 30:] == CERTAIN).all()
    assert not levels.pixels_HW[:, :30].any()
