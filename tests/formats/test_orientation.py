"""Photos come the way up that the results mean, and what cannot be told is said."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from bpr_cli.errors import InputError
from bpr_cli.formats import mask_images
from bpr_cli.formats.images import PhotoReader, read_image
from bpr_cli.formats.records import ImageRecord, Instance
from bpr_cli.notices import InputWarning

HEIGHT, WIDTH = 40, 60
SCENE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 2)
TURNED = [5, 6, 7, 8]


def saved(path, orientation, pixels=SCENE):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def upright(path):
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def instance(segmentation, bbox=None):
    fields = {} if bbox is None else {"bbox": bbox}
    return Instance(0, 1, segmentation, 1, None, False, fields, Path("r.json"))


@pytest.fixture
def certain():
    """No warning is due."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        yield


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", TURNED)
def test_the_stated_size_tells(tmp_path, certain, orientation, ending):
    path = saved(tmp_path / f"a.{ending}", orientation)
    plain = read_image(saved(tmp_path / f"b.{ending}", 1))
    assert np.array_equal(read_image(path, (HEIGHT, WIDTH)), plain)
    turned = read_image(path, (WIDTH, HEIGHT))
    assert np.array_equal(turned, upright(path))


def evidence(width, height):
    """Instances that lie on an image of this size and on no other."""
    x, y = width - 1, height - 1
    yield "polygon", instance([[1, 1, x, 1, x, y]])
    yield "second polygon", instance([[1, 1, 9, 1, 9, 9], [1, 1, x, 1, x, y]])
    yield "box", instance([[1, 1, 9, 1, 9, 9]], [2, 2, x - 2, y - 2])
    yield "RLE", instance({"size": [height, width], "counts": [height * width]})


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("position", range(4), ids=[name for name, _ in evidence(1, 1)])
def test_without_a_size_the_masks_tell(tmp_path, certain, position, orientation):
    path = saved(tmp_path / "a.png", orientation)
    for reader in (PhotoReader("exif"), PhotoReader("stored")):
        for width, height in ((WIDTH, HEIGHT), (HEIGHT, WIDTH)):
            found = list(evidence(width, height))[position][1]
            assert reader.read(path, ImageRecord(1), [found]).shape == (height, width, 3)


def test_a_box_a_little_beyond_the_border_tells_nothing(tmp_path):
    path = saved(tmp_path / "a.png", 6)
    over = instance([[1, 1, 9, 1, 9, 9]], [0, 0, 20, HEIGHT + 1.5])
    with pytest.warns(InputWarning, match="turned as its EXIF says"):
        PhotoReader().read(path, ImageRecord(1), [over])


OPEN = [(orientation, None) for orientation in (2, 3, 4)] + [(orientation, (40, 40)) for orientation in TURNED]


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize(("orientation", "square"), OPEN)
def test_where_no_size_tells_an_option_does_and_that_is_said(tmp_path, orientation, square, ending):
    pixels = SCENE[:, :40] if square else SCENE
    path = saved(tmp_path / f"a.{ending}", orientation, np.ascontiguousarray(pixels))
    with pytest.warns(InputWarning, match="--orientation stored"):
        assert np.array_equal(read_image(path, pixels.shape[:2]), upright(path))
    with pytest.warns(InputWarning, match="--orientation exif"):
        assert np.array_equal(read_image(path, pixels.shape[:2], orientation="stored"), pixels)


def test_masks_that_fit_both_ways_tell_nothing(tmp_path):
    path = saved(tmp_path / "a.png", 6)
    with pytest.warns(InputWarning):
        assert read_image(path, None, [instance([[1, 1, 9, 1, 9, 9]])]).shape == (WIDTH, HEIGHT, 3)


def test_a_photo_without_orientation_is_certain(tmp_path, certain):
    assert np.array_equal(read_image(saved(tmp_path / "a.png", 1)), SCENE)
    assert np.array_equal(read_image(saved(tmp_path / "b.png", 77)), SCENE)


def test_a_size_that_fits_neither_way_is_refused(tmp_path):
    with pytest.raises(InputError, match="the image is 60x40, the results say 61x40"):
        read_image(saved(tmp_path / "a.png", 6), (40, 61))


@pytest.mark.parametrize("orientation", [6, 8])
def test_the_first_mask_tells_of_a_photo_with_masks(tmp_path, certain, orientation):
    path = saved(tmp_path / "a.png", orientation)
    for shape in ((HEIGHT, WIDTH), (WIDTH, HEIGHT)):
        Image.new("L", shape[::-1]).save(tmp_path / "m.png")
        record = mask_images.read(path, [tmp_path / "m.png"]).images[0].image
        assert PhotoReader().read(path, record).shape[:2] == shape


@pytest.mark.parametrize(("orientation", "max_pixels"), [("upright", 1), ("exif", 0), ("exif", 2**31)])
def test_options_out_of_their_range_are_refused(orientation, max_pixels):
    with pytest.raises(InputError):
        PhotoReader(orientation, max_pixels)
