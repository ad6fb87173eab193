"""Folders and photos as people have them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import read_image
from bpr_cli.formats.records import ImageRecord


def finder_of(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return ImageFinder(folder)


def test_two_files_for_one_id_are_an_error_that_names_both(tmp_path):
    finder = finder_of(tmp_path, "139.jpg", "139.png")
    for find in (finder.find, lambda record: finder.find_all([record])):
        with pytest.raises(InputError, match=r"image 139: several files match: 139\.jpg, 139\.png") as caught:
            find(ImageRecord(139))
        assert str(tmp_path) in str(caught.value)
        assert caught.value.remedy


def test_a_file_name_with_folders_goes_to_the_path_that_ends_in_it(tmp_path):
    finder = finder_of(tmp_path, "data/a/0.jpg", "data/b/0.jpg", "1.jpg", "other/1.jpg")
    assert finder.find(ImageRecord(1, "b/0.jpg")) == tmp_path / "data/b/0.jpg"
    assert finder.find(ImageRecord(1, "./data/a/0.jpg")) == tmp_path / "data/a/0.jpg"
    assert finder.find(ImageRecord(1, "data\\b\\0.jpg")) == tmp_path / "data/b/0.jpg"
    assert finder.find(ImageRecord(1, "val2017/1.jpg")) == tmp_path / "1.jpg"


def test_two_images_never_share_a_file_for_want_of_their_own(tmp_path):
    finder = finder_of(tmp_path, "0.jpg")
    with pytest.raises(InputError, match=r"image 2: b/0\.jpg and a/0\.jpg would both be 0\.jpg"):
        finder.find_all([ImageRecord(1, "a/0.jpg"), ImageRecord(2, "b/0.jpg")])


def test_a_text_id_may_be_a_path_or_a_number(tmp_path):
    finder = finder_of(tmp_path, "a/0.jpg", "b/0.jpg", "000000000139.jpg")
    assert finder.find(ImageRecord("b/0")) == tmp_path / "b/0.jpg"
    assert finder.find(ImageRecord("b/0.jpg")) == tmp_path / "b/0.jpg"
    assert finder.find(ImageRecord("139")) == tmp_path / "000000000139.jpg"


def test_hidden_files_and_other_files_are_no_images(tmp_path):
    finder = finder_of(tmp_path, "139.jpg", "._139.jpg", "139.json", "139.txt")
    assert finder.find(ImageRecord(139)) == tmp_path / "139.jpg"


def test_linked_folders_are_searched_once(tmp_path):
    finder_of(tmp_path / "far", "139.jpg")
    (tmp_path / "images").mkdir()
    try:
        (tmp_path / "images" / "val").symlink_to(tmp_path / "far", target_is_directory=True)
        (tmp_path / "images" / "again").symlink_to(tmp_path / "images", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert ImageFinder(tmp_path / "images").find(ImageRecord(139)) == tmp_path / "images/val/139.jpg"


def test_missing_images_are_counted(tmp_path):
    with pytest.raises(InputError) as caught:
        finder_of(tmp_path, "1.jpg").find_all([ImageRecord(i) for i in range(1, 10)])
    assert str(tmp_path) in str(caught.value)
    assert "8 of 9" in str(caught.value)
    assert "000000000002.jpg" in str(caught.value)
    with pytest.raises(InputError, match=r"looked for val/7\.jpg"):
        finder_of(tmp_path).find_all([ImageRecord(7, "val/7.jpg")])


@pytest.fixture
def scene():
    noise = np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def test_a_palette_and_grey_with_alpha_become_rgb(tmp_path, scene):
    image = Image.fromarray(scene).quantize(16)
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))
    Image.fromarray(np.ascontiguousarray(scene[..., 0])).convert("LA").save(tmp_path / "b.png")
    assert np.array_equal(read_image(tmp_path / "b.png"), np.dstack([scene[..., 0]] * 3))


def test_sixteen_bits_keep_their_high_byte(tmp_path, scene):
    cv2.imwrite(str(tmp_path / "a.png"), scene[..., ::-1].astype(np.uint16) * 256 + 99)
    assert np.array_equal(read_image(tmp_path / "a.png"), scene)


def test_a_jpeg_with_a_film_behind_it_is_whole(tmp_path, scene):
    Image.fromarray(scene).save(tmp_path / "a.jpg")
    plain = read_image(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as stream:
        stream.write(bytes(50_000))
    assert np.array_equal(read_image(tmp_path / "a.jpg"), plain)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("padded", [False, True])
def test_a_jpeg_cut_anywhere_is_refused_even_if_padded_to_its_size(tmp_path, scene, share, padded):
    path = tmp_path / "a.jpg"
    Image.fromarray(scene.repeat(3, 0).repeat(3, 1)).save(path, quality=98)
    whole = path.read_bytes()
    kept = int(len(whole) * share)
    path.write_bytes(whole[:kept] + bytes(len(whole) - kept) * padded)
    with pytest.raises(InputError, match=r"a\.jpg: the image is truncated or broken") as caught:
        read_image(path)
    assert caught.value.remedy


def test_a_path_beyond_ascii_is_read(tmp_path, scene):
    Image.fromarray(scene).save(tmp_path / "\u00fcber \u4e2d.png")
    assert np.array_equal(read_image(tmp_path / "\u00fcber \u4e2d.png"), scene)


def test_a_photo_is_turned_the_way_its_exif_says(tmp_path, scene):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(scene).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png", (120, 200)), scene)
    assert np.array_equal(read_image(tmp_path / "a.png", (200, 120)), np.rot90(scene, -1))


def test_a_photo_is_not_turned_without_exif(tmp_path, scene):
    Image.fromarray(scene).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="the image is 200x120, the results say 120x200"):
        read_image(tmp_path / "a.png", (200, 120))
