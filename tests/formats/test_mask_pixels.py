"""What a mask image says: one object, softly drawn or not, or several, which are never merged."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bpr_cli.formats.mask_pixels import MaskImageError, read_foreground
from bpr_cli.notices import InputWarning

H, W = 60, 80
BLOB = np.zeros((H, W), bool)
cv2.ellipse(BLOB.view(np.uint8), (40, 30), (24, 18), 20, 0, 360, 1, -1)
SOFT = cv2.GaussianBlur(BLOB.astype(np.float32), (0, 0), 2)
HALF = SOFT > 0.5
WIDE = cv2.GaussianBlur(SOFT, (0, 0), 6)
LABELS = np.zeros((H, W), np.uint8)
LABELS[5:25, 5:30], LABELS[30:50, 10:40], LABELS[10:50, 50:70] = 1, 2, 3
MAPS = [(0, 1, 2, 3), (0, 1, 2, 255), (0, 85, 170, 255), (0, 127, 127, 255), (0, 128, 255, 255), (0, 254, 255, 255)]


def read(path, image, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return read_foreground(path, H, W)


def refusal_of(path, image, **options):
    with pytest.raises(MaskImageError) as caught:
        read(path, image, **options)
    assert path.name in caught.value.problem
    assert caught.value.remedy
    return caught.value.problem


SOFTS = {
    "8 bits": ("a.png", np.rint(SOFT * 255).astype(np.uint8)),
    "16 bits": ("a.png", np.rint(SOFT * 65535).astype(np.uint16)),
    "12 of 16 bits": ("a.tif", np.rint(SOFT * 4095).astype(np.uint16)),
    "8 of 16 bits": ("a.png", np.rint(SOFT * 255).astype(np.uint16)),
    "32 bits of 8": ("a.tif", np.rint(SOFT * 255).astype(np.int32)),
    "probabilities": ("a.tif", SOFT),
    "probabilities up to 0.9": ("a.tif", SOFT * 0.9 + 0.05),
    "floats up to 255": ("a.tif", SOFT * 255),
    "grey in colours": ("a.png", np.dstack([np.rint(SOFT * 255).astype(np.uint8)] * 3)),
    "one colour": ("a.png", np.dstack([np.rint(SOFT * 200).astype(np.uint8)] + [np.zeros((H, W), np.uint8)] * 2)),
    "five levels": ("a.png", (np.rint(SOFT * 4) * 63.75).astype(np.uint8)),
    "a palette of greys": ("a.png", Image.fromarray(np.rint(SOFT * 255).astype(np.uint8)).convert("P")),
    "sixteen levels of a wide border": ("a.png", (np.rint(WIDE * 15) * 17).astype(np.uint8)),
    "alpha": ("a.png", np.dstack([np.full((H, W, 3), 90, np.uint8), np.rint(SOFT * 255).astype(np.uint8)])),
}


@pytest.mark.parametrize("kind", SOFTS)
def test_a_soft_mask_is_cut_at_half_of_its_range_and_that_is_said(tmp_path, kind):
    name, image = SOFTS[kind]
    with pytest.warns(InputWarning, match="half of its range"):
        found = read(tmp_path / name, image)
    assert np.count_nonzero(found != HALF) <= {"five levels": 140, "sixteen levels of a wide border": 300}.get(kind, 40)


def test_a_soft_rectangle_is_soft_though_its_sides_are_straight(tmp_path):
    image = np.zeros((H, W), np.uint8)
    image[15:45, 20:60] = 255
    with pytest.warns(InputWarning):
        found = read(tmp_path / "a.png", cv2.GaussianBlur(image, (5, 5), 1.2))
    assert np.count_nonzero(found != (image > 0)) <= 4  # its corners


@pytest.mark.parametrize("values", MAPS)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
def test_a_map_of_several_values_is_refused(tmp_path, values, kind):
    image = np.array(values, kind)[LABELS]
    assert "an object each" in refusal_of(tmp_path / "a.tif", image) or max(values) < 128


@pytest.mark.parametrize("values", MAPS)
def test_a_map_in_a_palette_or_in_grey_jpeg_is_refused(tmp_path, values):
    image = np.array(values, np.uint8)[LABELS]
    palette = Image.fromarray(image).convert("P")
    palette.putpalette(np.random.default_rng(0).integers(1, 256, 768).tolist())
    palette.putpalette([0, 0, 0, *palette.getpalette()[3:]])
    assert "an object each" in refusal_of(tmp_path / "a.png", palette)
    if values[1:3] in ((85, 170), (127, 127)):
        assert "an object each" in refusal_of(tmp_path / "a.jpg", image)


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255)])
@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.jpg", {"quality": 90})])
def test_objects_in_a_colour_each_are_refused(tmp_path, background, name, options):
    colours = np.array([background, (220, 20, 60), (0, 180, 40), (20, 40, 230)], np.uint8)
    assert "an object each" in refusal_of(tmp_path / name, colours[LABELS], **options)


def test_many_small_objects_are_refused(tmp_path):
    cells = np.arange(12 * 16).reshape(12, 16).repeat(5, 0).repeat(5, 1)
    assert "an object each" in refusal_of(tmp_path / "a.png", (cells + 1).astype(np.uint16) * 300)
    assert "an object each" in refusal_of(tmp_path / "b.png", cells.astype(np.uint8))


def test_objects_in_a_colour_each_on_transparent_ground_are_refused(tmp_path):
    colours = np.array([(0, 0, 0, 0), (220, 20, 60, 255), (0, 180, 40, 255), (20, 40, 230, 255)], np.uint8)
    assert "an object each" in refusal_of(tmp_path / "a.png", colours[LABELS])


def test_pages_are_refused(tmp_path):
    pages = [Image.fromarray((number == LABELS).astype(np.uint8) * 255) for number in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(MaskImageError, match="3 pages"):
        read_foreground(tmp_path / "a.tif", H, W)


def test_a_value_for_the_background_other_than_0_is_refused(tmp_path):
    assert "no 0" in refusal_of(tmp_path / "a.png", np.where(BLOB, 255, 40).astype(np.uint8))


@pytest.mark.parametrize(
    "values", [np.where(BLOB, 3.5, -8.25), np.where(BLOB, np.nan, 0.5), np.where(BLOB, 300.5, 0.5)]
)
def test_what_is_no_probability_is_refused(tmp_path, values):
    refusal_of(tmp_path / "a.tif", values.astype(np.float32))


def test_low_probabilities_are_no_object(tmp_path):
    with pytest.warns(InputWarning):
        assert not read(tmp_path / "a.tif", SOFT * 0.4).any()


BINARY = {
    "0 and 1 as floats": ("a.tif", BLOB.astype(np.float32)),
    "0 and 255 as floats": ("a.tif", BLOB * np.float32(255)),
    "CMYK": ("a.tif", Image.fromarray(np.dstack([BLOB * np.uint8(255)] * 3)).convert("CMYK")),
    "CMYK JPEG": ("a.jpg", Image.fromarray(np.dstack([BLOB * np.uint8(255)] * 3)).convert("CMYK")),
    "YCbCr": ("a.tif", Image.fromarray(np.dstack([BLOB * np.uint8(255)] * 3)).convert("YCbCr")),
    "lossless WebP": ("a.webp", np.dstack([BLOB * np.uint8(255)] * 3)),
    "one bit": ("a.tif", Image.fromarray(BLOB * np.uint8(255)).convert("1")),
    "half-transparent colour": ("a.png", np.dstack([BLOB * np.uint8(255)] * 3 + [np.full((H, W), 128, np.uint8)])),
}


@pytest.mark.parametrize("kind", BINARY)
def test_masks_of_two_values_are_read_without_a_word(tmp_path, kind):
    name, image = BINARY[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        options = {"lossless": True} if name.endswith("webp") else {}
        found = read(tmp_path / name, image, **options)
    assert np.count_nonzero(found != BLOB) <= (20 if name.endswith("jpg") else 0)


def test_transparent_colours_of_palette_grey_and_rgb_are_background(tmp_path):
    palette = Image.fromarray(BLOB.astype(np.uint8)).convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    assert np.array_equal(read(tmp_path / "p.png", palette, transparency=0), BLOB)
    assert np.array_equal(read(tmp_path / "q.png", palette, transparency=bytes([0, 255])), BLOB)
    grey = Image.fromarray(np.where(BLOB, 0, 255).astype(np.uint8))
    assert np.array_equal(read(tmp_path / "g.png", grey, transparency=255), BLOB)
    assert np.array_equal(read(tmp_path / "c.png", grey.convert("RGB"), transparency=(255, 255, 255)), BLOB)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_alpha_opaque_but_for_a_few_pixels_is_no_mask(tmp_path, mode):
    alpha = np.full((H, W), 255, np.uint8)
    alpha[0, 0] = alpha[-1, 0] = alpha[0, -1] = alpha[-1, -1] = 0
    grey = BLOB * np.uint8(255)
    image = Image.fromarray(np.dstack([grey] * 3 + [alpha])).convert(mode)
    assert np.array_equal(read(tmp_path / "a.png", image), BLOB)


def test_a_cut_out_is_its_alpha_whatever_its_colours(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
    assert np.array_equal(read(tmp_path / "a.png", np.dstack([photo, BLOB * np.uint8(255)])), BLOB)
    reduced = Image.fromarray(np.dstack([photo, BLOB * np.uint8(255)])).quantize(32)
    assert np.array_equal(read(tmp_path / "b.png", reduced), np.asarray(reduced.convert("RGBA"))[..., 3] > 127)


def test_a_photo_is_no_mask(tmp_path):
    refusal_of(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 254, 255]))
def test_two_values_are_one_mask_however_they_lie(tmp_path_factory, seed, value):
    mask = np.random.default_rng(seed).random((H, W)) < 0.3
    path = tmp_path_factory.getbasetemp() / "two.png"
    assert np.array_equal(read(path, mask * np.uint8(value)), mask)
