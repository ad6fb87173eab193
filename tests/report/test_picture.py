"""Pictures are whole files of the promised size whose halves differ where the masks do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.masks import Mask, crop_mask
from bpr_cli.report.picture import (
    AFTER,
    BEFORE,
    EDGE,
    GAP,
    HALF_WIDTH,
    HEADER_HEIGHT,
    PHOTO_HEIGHT,
    TILE,
    Comparison,
    contact_sheet,
    differing_windows,
    draw,
)

IMAGE = np.full((200, 300, 3), 120, np.uint8)


def disk(x: int, y: int, radius: int, height: int = 200, width: int = 300) -> Mask:
    frame_HW = np.zeros((height, width), np.uint8)
    cv2.circle(frame_HW, (x, y), radius, 1, -1)
    return crop_mask(frame_HW, 0, 0, height, width)


def near(picture_HWC: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels have a colour, up to rounding by anti-aliasing and JPEG."""
    return int((np.abs(picture_HWC.astype(int) - colour).max(axis=2) < 40).sum())


def test_the_picture_is_1200_wide_and_each_half_has_its_colour() -> None:
    picture_HWC = draw(Comparison(IMAGE, disk(120, 100, 50), disk(130, 100, 50), disk(130, 100, 49)))
    assert picture_HWC.shape == (2 * EDGE + HEADER_HEIGHT + PHOTO_HEIGHT + GAP + TILE, 1200, 3)
    left_HWC, right_HWC = picture_HWC[:, :600], picture_HWC[:, 600:]
    assert near(left_HWC, BEFORE) > 500
    assert near(right_HWC, AFTER) > 500
    assert near(left_HWC, AFTER) == near(right_HWC, BEFORE) == 0


def test_the_outline_lies_on_the_mask_s_edge() -> None:
    mask = disk(150, 100, 40)
    half_HWC = draw(Comparison(IMAGE, mask, mask))[EDGE + HEADER_HEIGHT :, EDGE : EDGE + HALF_WIDTH]
    rows, columns = np.nonzero(np.abs(half_HWC.astype(int) - BEFORE).max(axis=2) < 40)
    scale = PHOTO_HEIGHT / (81 + 2 * 24)  # the disk's 81 rows, a margin of half a window on both sides
    radius = np.hypot(rows - rows.mean(), columns - columns.mean())
    assert np.median(radius) == pytest.approx(scale * np.sqrt(mask.area / np.pi), abs=1)
    assert np.ptp(radius) < 8  # a disk of pixels is not quite round


def test_an_object_cut_off_by_the_image_has_no_outline_there() -> None:
    frame_HW = np.zeros((200, 300), np.uint8)
    frame_HW[:, :150] = 1
    mask = crop_mask(frame_HW, 0, 0, 200, 300)
    half_HWC = draw(Comparison(IMAGE, mask, mask))[EDGE + HEADER_HEIGHT :, EDGE : EDGE + HALF_WIDTH]
    columns = np.nonzero(np.abs(half_HWC.astype(int) - BEFORE).max(axis=2) < 40)[1]
    assert np.ptp(columns) < 8


def test_windows_lie_where_the_masks_differ_most_and_do_not_overlap() -> None:
    before = disk(60, 60, 30)
    after_HW = np.zeros((200, 300), np.uint8)
    after_HW[30:91, 30:91] = disk(60, 60, 30).pixels_HW
    after_HW[150:170, 200:220] = 1
    after_HW[5:10, 250:260] = 1
    windows = differing_windows(before, crop_mask(after_HW, 0, 0, 200, 300), size=40)
    assert len(windows) == 2
    x1, y1, x2, y2 = windows[0]
    assert x1 <= 200
    assert x2 >= 220
    assert y1 <= 150
    assert y2 >= 170
    assert windows[1][0] >= 220


def test_equal_masks_make_a_picture_without_windows() -> None:
    picture_HWC = draw(Comparison(IMAGE, disk(120, 100, 50), disk(120, 100, 50)))
    assert picture_HWC.shape[0] == 2 * EDGE + HEADER_HEIGHT + PHOTO_HEIGHT


@pytest.mark.parametrize("size", [(20, 30), (400, 60), (60, 900)])
def test_images_of_any_shape_and_empty_masks_are_drawn(size: tuple[int, int]) -> None:
    empty = Mask(np.zeros((0, 0), np.uint8), 0, 0, *size)
    picture_HWC = draw(Comparison(np.zeros((*size, 3), np.uint8), empty, disk(10, 10, 8, *size)))
    assert picture_HWC.shape[1] == 1200


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_the_file_holds_the_picture_in_its_colours(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"picture{ending}"
    before, after = disk(120, 100, 50), disk(130, 100, 50)
    contact_sheet([Comparison(IMAGE, before, after, None, "IoU 84.6", "IoU 97.0")], out)
    written_HWC = cv2.cvtColor(cv2.imread(str(out)), cv2.COLOR_BGR2RGB)
    drawn_HWC = draw(Comparison(IMAGE, before, after, None, "IoU 84.6", "IoU 97.0"))
    assert np.abs(written_HWC.astype(int) - drawn_HWC).mean() < 2
    assert list(tmp_path.iterdir()) == [out]


def test_a_sheet_stacks_its_instances(tmp_path: Path) -> None:
    one = Comparison(IMAGE, disk(120, 100, 50), disk(130, 100, 50))
    contact_sheet([one, one], tmp_path / "sheet.png")
    height = draw(one).shape[0]
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (2 * height, 1200, 3)


def test_other_file_endings_and_other_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="PNG or JPEG"):
        contact_sheet([Comparison(IMAGE, disk(9, 9, 5), disk(9, 9, 6))], tmp_path / "picture.gif")
    with pytest.raises(ValueError, match="30x30 image"):
        draw(Comparison(IMAGE, disk(9, 9, 5, 30, 30), disk(9, 9, 6)))
    assert list(tmp_path.iterdir()) == []
