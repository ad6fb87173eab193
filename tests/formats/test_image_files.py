"""Damaged, huge and unusual image files."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats import images
from bpr_cli.formats.image_files import damage
from bpr_cli.formats.images import read_image
from bpr_cli.notices import InputWarning

NOISE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
SCENE = cv2.GaussianBlur(NOISE, (0, 0), 2)


def encoded(form, pixels=SCENE, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def refusal_of(path, data):
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert path.name in str(caught.value)
    assert caught.value.remedy
    return caught.value.problem


@pytest.mark.parametrize("harm", ["overwritten", "zeroed", "lost"])
def test_a_jpeg_damaged_in_its_middle_is_refused(tmp_path, example, harm):
    put = {"overwritten": np.random.default_rng(1).bytes(4096), "zeroed": bytes(4096), "lost": b""}[harm]
    for photo in example.images.iterdir():
        data = photo.read_bytes()
        middle = len(data) // 2
        problem = refusal_of(tmp_path / "a.jpg", data[:middle] + put + data[middle + 4096 :])
        assert "truncated or broken" in problem


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_jpeg_cut_short_is_refused_though_an_end_mark_follows(tmp_path, share, progressive):
    data = encoded("JPEG", quality=90, progressive=progressive)
    assert "truncated" in refusal_of(tmp_path / "a.jpg", data[: int(len(data) * share)] + b"\xff\xd9")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}])
def test_a_whole_jpeg_is_whole(mode, options):
    stream = io.BytesIO()
    Image.fromarray(SCENE).convert(mode).save(stream, "JPEG", **options)
    data = stream.getvalue()
    assert damage(data) is None
    assert damage(data + bytes(50_000)) is None  # a phone's film
    assert damage(data[:-2] + bytes(3) + data[-2:]) is None  # zeros before the end mark


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate"])
def test_a_damaged_tiff_is_refused(tmp_path, compression):
    data = bytearray(encoded("TIFF", compression=compression))
    middle = len(data) // 3
    data[middle : middle + 2000] = bytes(255 - value for value in data[middle : middle + 2000])
    assert "truncated or broken" in refusal_of(tmp_path / "a.tif", bytes(data))


def chunk(kind, content, length=None):
    stated = len(content) if length is None else length
    return struct.pack(">I", stated) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, *chunks):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt", b"acTL", b"PLTE"])
def test_a_chunk_longer_than_its_png_is_refused_before_anything_is_decoded(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(images, "_decoded", None)
    data = png(56, 40, chunk(kind, bytes(1000), length=4_294_967_157), chunk(b"IEND", b""))
    assert "states 4294967157 bytes" in refusal_of(tmp_path / "a.png", data)


def test_a_png_that_is_cut_or_changed_is_refused(tmp_path):
    data = encoded("PNG")
    assert "early" in refusal_of(tmp_path / "a.png", data[:-12])
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    assert "checksum" in refusal_of(tmp_path / "a.png", bytes(changed))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_size_and_limit_are_compared_before_anything_is_decoded(tmp_path, monkeypatch, form):
    monkeypatch.setattr(images, "_decoded", None)
    (tmp_path / "a").write_bytes(encoded(form))
    with pytest.raises(InputError, match="the image is 320x240, the results say 9x9"):
        read_image(tmp_path / "a", (9, 9))
    with pytest.raises(InputError, match=r"240 x 320 pixels, more than 76,799.*--max-pixels"):
        read_image(tmp_path / "a", max_pixels=240 * 320 - 1)


def test_the_limit_is_ours_not_pillows(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(SCENE).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_image(tmp_path / "a.png", max_pixels=240 * 320), SCENE)
        assert images.image_size(tmp_path / "a.png") == (240, 320)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_of_16_bits_those_that_are_used_count(tmp_path, bits, ending, channels):
    pixels = SCENE.copy()
    pixels[0, 0] = 255
    pixels = pixels if channels == 3 else pixels[..., 0]
    cv2.imwrite(
        str(tmp_path / f"a.{ending}"), (pixels[..., ::-1] if channels == 3 else pixels).astype(np.uint16) << (bits - 8)
    )
    with pytest.warns(InputWarning, match=f"of its 16 bits {bits} are used"):
        found = read_image(tmp_path / f"a.{ending}")
    assert np.array_equal(found, pixels if channels == 3 else np.dstack([pixels] * 3))


def test_all_16_bits_are_read_as_ever(tmp_path):
    deep = SCENE.astype(np.uint16) * 257
    deep[0, 0] = 65535
    cv2.imwrite(str(tmp_path / "a.tif"), deep[..., ::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        found = read_image(tmp_path / "a.tif")
    assert np.array_equal(found, deep >> 8)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_photos_of_other_numbers_are_called_that(tmp_path, kind):
    path = tmp_path / "a.tif"
    Image.fromarray((SCENE[..., 0] / 255).astype(kind)).save(path)
    with pytest.raises(InputError, match="not of 8 or 16 bits"):
        read_image(path)


def test_a_heic_file_is_called_that_whatever_its_ending(tmp_path):
    data = struct.pack(">I", 24) + b"ftypheic" + bytes(12) + bytes(500)
    assert "HEIC" in refusal_of(tmp_path / "a.jpg", data)


@pytest.mark.parametrize("form", ["AVIF", "JPEG2000", "WEBP", "PPM", "GIF", "BMP"])
def test_other_kinds_are_read(tmp_path, form):
    try:
        data = encoded(form)
    except (OSError, KeyError):
        pytest.skip("this Pillow does not write it")
    (tmp_path / "a").write_bytes(data)
    found = read_image(tmp_path / "a", (240, 320))
    assert np.abs(found.astype(int) - SCENE).mean() < 8


def test_a_png_that_states_more_pixels_than_its_data_can_hold_is_refused_before_room_is_made_for_them(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(images, "_decoded", None)
    data = png(20_000, 20_000, chunk(b"IDAT", zlib.compress(bytes(10_000))), chunk(b"IEND", b""))
    assert "states 20000x20000 pixels, more than its" in refusal_of(tmp_path / "a.png", data)
    assert damage(encoded("PNG", np.zeros((3000, 3000, 3), np.uint8), compress_level=9)) is None


def test_an_avif_without_its_image_is_refused(tmp_path):
    try:
        data = encoded("AVIF")
    except (OSError, KeyError):
        pytest.skip("this Pillow does not write it")
    assert "cannot be decoded" in refusal_of(tmp_path / "a.avif", data.replace(b"iloc", b"free"))
