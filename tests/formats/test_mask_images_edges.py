"""Mask images as people have them, and outputs that must not hurt an input."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats import mask_images, write_results
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import to_frame

BLOB = np.zeros((20, 30), np.uint8)
BLOB[4:9, 5:20] = 1


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def saved(path, values=BLOB, **options):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def test_a_mask_that_is_not_refined_is_written_as_0_and_255(photo, tmp_path):
    mask = saved(tmp_path / "one.png", BLOB * 7)
    write_results(mask_images.read(photo, [mask]), [None], tmp_path / "out")
    written = Image.open(tmp_path / "out" / "one.png")
    assert written.mode == "L"
    assert np.array_equal(np.asarray(written), BLOB * 255)


def test_a_mask_of_another_kind_of_file_becomes_a_png(photo, tmp_path):
    mask = saved(tmp_path / "one.bmp", BLOB * 255)
    write_results(mask_images.read(photo, [mask]), [None], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.png"]


def test_a_mask_that_cannot_be_used_stays_in_the_output(photo, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    other_size = saved(tmp_path / "large.png", np.ones((40, 60), np.uint8))
    fine = saved(tmp_path / "fine.png")
    write_results(mask_images.read(photo, [fine, broken, other_size]), [None] * 3, tmp_path / "out")
    assert (tmp_path / "out" / "broken.png").read_bytes() == b"no image"
    assert Image.open(tmp_path / "out" / "large.png").size == (60, 40)


def test_masks_drawn_on_the_turned_photo_are_understood(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "photo.jpg", exif=exif)
    mask = saved(tmp_path / "one.png", np.ascontiguousarray(BLOB.T))
    (entry,) = mask_images.read(tmp_path / "photo.jpg", [mask]).images
    assert (entry.image.height, entry.image.width) == (30, 20)
    assert np.array_equal(to_frame(decode_mask(entry.instances[0], 30, 20)), BLOB.T)


@pytest.mark.parametrize("name", ["one.png", "ONE.png", "one.bmp"])
def test_masks_whose_outputs_would_be_one_file_are_refused(photo, tmp_path, name):
    with pytest.raises(InputError, match=r"one\.png") as caught:
        mask_images.read(photo, [saved(tmp_path / "one.png"), saved(tmp_path / "other" / name)])
    assert name in str(caught.value)
    assert "rename" in caught.value.remedy


def test_neither_a_mask_nor_the_photo_is_replaced(tmp_path):
    photo = saved(tmp_path / "data" / "a.png", np.zeros((20, 30, 3), np.uint8))
    mask = saved(tmp_path / "masks" / "a.png")
    results = mask_images.read(photo, [mask])
    for victim in (photo, mask):
        before = victim.read_bytes()
        with pytest.raises(InputError, match="would replace this input") as caught:
            write_results(results, [None], victim.parent)
        assert str(victim) in str(caught.value)
        assert caught.value.remedy
        assert victim.read_bytes() == before


def test_no_masks_a_missing_photo_and_a_file_for_a_folder_are_refused(photo, tmp_path):
    with pytest.raises(InputError, match=r"photo\.jpg: there are no masks"):
        mask_images.read(photo, [])
    mask = saved(tmp_path / "one.png")
    with pytest.raises(InputError, match=r"none\.jpg"):
        mask_images.read(tmp_path / "none.jpg", [mask])
    with pytest.raises(InputError, match=r"photo\.jpg: the output is a file"):
        write_results(mask_images.read(photo, [mask]), [None], photo)
