"""One photo and its mask images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.formats import mask_images, write_results
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, to_frame


@pytest.fixture
def files(tmp_path):
    frame = np.zeros((20, 30), np.uint8)
    frame[4:9, 5:20] = 255
    paths = [tmp_path / "photo.jpg", tmp_path / "one.png", tmp_path / "two.png"]
    cv2.imwrite(str(paths[0]), np.zeros((20, 30, 3), np.uint8))
    for path in paths[1:]:
        cv2.imwrite(str(path), frame)
    return paths, frame


def test_each_mask_is_an_instance_in_the_order_given(files):
    (photo, one, two), frame = files
    results = mask_images.read(photo, [two, one])
    (entry,) = results.images
    assert (entry.image.height, entry.image.width) == (20, 30)
    assert [instance.segmentation for instance in entry.instances] == [two, one]
    assert np.array_equal(to_frame(decode_mask(entry.instances[0], 20, 30)), frame // 255)


def test_new_masks_are_written_under_their_names_and_others_as_they_were(files, tmp_path):
    (photo, one, two), _ = files
    results = mask_images.read(photo, [one, two])
    new = np.eye(20, 30, dtype=np.uint8)
    write_results(results, [encode_rle(crop_mask(new, 0, 0, 20, 30)), None], tmp_path / "out")
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "one.png"), cv2.IMREAD_UNCHANGED), new * 255)
    assert (tmp_path / "out" / "two.png").read_bytes() == two.read_bytes()


def test_inputs_are_never_replaced(files, tmp_path):
    (photo, one, two), _ = files
    results = mask_images.read(photo, [one, two])
    with pytest.raises(InputError, match=r"one\.png"):
        write_results(results, [None, None], tmp_path)


def test_masks_of_one_name_are_refused(files, tmp_path):
    (photo, one, _), _ = files
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"one\.png"):
        mask_images.read(photo, [one, tmp_path / "other" / "one.png"])
