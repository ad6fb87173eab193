"""The box of the object scheme: the mask's own, with what lies around it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bpr_cli.masks import crop_mask
from bpr_cli.patches import OBJECT, propose_boxes

SIDE = 200


@given(st.tuples(*[st.integers(0, SIDE - 1)] * 4))
def test_it_holds_the_mask_with_room_and_is_not_slender(corners):
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    frame = np.zeros((SIDE, SIDE), np.uint8)
    frame[y1 : y2 + 1, x1 : x2 + 1] = 1
    boxes = propose_boxes(crop_mask(frame, 0, 0, SIDE, SIDE), scheme=OBJECT)
    if frame.all():
        assert len(boxes) == 0
        return
    ((left, top, right, bottom),) = boxes.tolist()
    assert left <= x1 - 3
    assert top <= y1 - 3
    assert right >= x2 + 4
    assert bottom >= y2 + 4
    width, height = right - left, bottom - top
    assert min(width, height) >= 48
    assert max(width, height) <= 2 * min(width, height) + 2  # rounded outwards
    assert width <= max(1.4 * (x2 + 1 - x1) + 6, (1.4 * (y2 + 1 - y1) + 6) / 2, 48) + 2
