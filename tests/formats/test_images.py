"""Finding and reading photos."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import image_size, read_image
from bpr_cli.formats.records import ImageRecord


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return ImageFinder(folder)


@pytest.mark.parametrize("name", ["000000000139.jpg", "139.png", "COCO_val2014_000000000139.jpg", "sub/139.JPG"])
def test_an_id_finds_its_file(tmp_path, name):
    assert touch(tmp_path, name, "140.jpg", "1390.jpg").find(ImageRecord(139)) == tmp_path / name


@pytest.mark.parametrize("name", ["a.jpg", "val2017/a.jpg", "deep/er/a.jpg"])
def test_a_file_name_finds_its_file_in_the_folder_or_below(tmp_path, name):
    assert touch(tmp_path, name, "b.jpg").find(ImageRecord(1, "a.jpg")) == tmp_path / name


def test_an_exact_path_goes_before_the_name_alone(tmp_path):
    finder = touch(tmp_path, "x/a.jpg", "y/a.jpg")
    assert finder.find(ImageRecord(1, "y/a.jpg")) == tmp_path / "y" / "a.jpg"
    with pytest.raises(InputError, match=r"several files match: x/a\.jpg, y/a\.jpg"):
        finder.find(ImageRecord(1, "a.jpg"))


def test_a_text_id_is_a_file_name_or_its_stem(tmp_path):
    finder = touch(tmp_path, "frankfurt_1.png")
    for image_id in ("frankfurt_1", "frankfurt_1.png"):
        assert finder.find(ImageRecord(image_id)) == tmp_path / "frankfurt_1.png"


def test_missing_images_are_named_together(tmp_path):
    finder = touch(tmp_path, "1.jpg")
    with pytest.raises(InputError) as caught:
        finder.find_all([ImageRecord(i) for i in range(1, 10)])
    assert "2, 3, 4, 5, 6 and 3 more" in str(caught.value)
    assert "--images" in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        ImageFinder(tmp_path / "nowhere")


def test_pixels_come_as_rgb(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), photo)
    assert image_size(tmp_path / "a.png") == (20, 30)


@pytest.mark.parametrize("kind", ["grey", "transparent", "sixteen bit"])
def test_other_kinds_of_images_become_rgb(tmp_path, photo, kind):
    path = tmp_path / "a.png"
    grey = photo[..., 0]
    if kind == "grey":
        cv2.imwrite(str(path), grey)
        expected = np.dstack([grey] * 3)
    elif kind == "transparent":
        Image.fromarray(np.dstack([photo, grey]), "RGBA").save(path)
        expected = photo
    else:
        cv2.imwrite(str(path), grey.astype(np.uint16) * 257)
        expected = np.dstack([grey] * 3)
    assert np.array_equal(read_image(path), expected)


def test_the_noted_orientation_counts_only_if_the_results_say_so(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    Image.fromarray(photo).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg", (20, 30)).shape == (20, 30, 3)
    assert read_image(tmp_path / "a.jpg", (30, 20)).shape == (30, 20, 3)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_truncated_broken_and_missing_files_are_named(tmp_path, photo, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(photo.repeat(10, 0).repeat(10, 1)).save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-20], b"", b"no image"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=path.name):
            read_image(path)
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        read_image(path)


def test_another_size_is_named_with_both(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="30x20, the results say 31x20"):
        read_image(tmp_path / "a.png", (20, 31))
