"""A folder of mask images beside a folder of photos."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

import bpr_cli
from bpr_cli.errors import InputError
from bpr_cli.formats import mask_images, read_results
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from tests.conftest import run_bpr

HEIGHT, WIDTH = 96, 128


@pytest.fixture(scope="module")
def refiner(small_model):
    return Refiner.from_pretrained(small_model, "cpu", "fp32", RefineSettings(passes=1, flips=False, caution=0))


def mask_of(x):
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(pixels, (x, 48), 20, 255, -1)
    return pixels


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def photos(folder, *names):
    for name in names:
        noise = np.random.default_rng(len(name)).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        save(folder / name, cv2.GaussianBlur(noise, (0, 0), 3))


@pytest.mark.parametrize(
    ("masks", "photo"),
    [
        (["a.png"], "a.jpg"),
        (["a_1.png", "a_2.png"], "a.jpg"),
        (["a/1.png", "a/2.bmp"], "a.jpg"),
        (["seq/a_person_1.png", "seq/a_person_2.png"], "seq/a.jpg"),
        (["seq/a_1.png"], "seq/a_1.jpg"),
        (["seq/00001/7.png"], "seq/00001.jpg"),
    ],
)
def test_names_tell_the_photo_and_the_same_tree_is_written(tmp_path, refiner, masks, photo):
    photos(tmp_path / "photos", photo, "b.jpg")
    for place, name in enumerate(masks):
        save(tmp_path / "masks" / name, mask_of(40 + 40 * place))
    bpr_cli.refine(tmp_path / "masks", tmp_path / "out", images=tmp_path / "photos", model=refiner, quiet=True)
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert written == sorted(name.rpartition(".")[0] + ".png" for name in masks)
    for place, name in enumerate(written):
        after = cv2.imread(str(tmp_path / "out" / name), cv2.IMREAD_UNCHANGED)
        assert after.shape == (HEIGHT, WIDTH)
        assert set(np.unique(after)) == {0, 255}
        assert (after != mask_of(40 + 40 * place)).any()
    (entry,) = read_results(tmp_path / "masks", images=tmp_path / "photos").images
    assert entry.image.id == photo.removesuffix(".jpg")


def test_masks_of_one_photo_are_settled_among_each_other_when_asked(tmp_path, refiner):
    photos(tmp_path / "photos", "a.jpg")
    save(tmp_path / "masks" / "a_1.png", mask_of(50))
    save(tmp_path / "masks" / "a_2.png", mask_of(70))
    options = {"images": tmp_path / "photos", "model": refiner, "quiet": True}
    bpr_cli.refine(tmp_path / "masks", tmp_path / "out", exclusive=True, **options)
    after = [cv2.imread(str(tmp_path / "out" / f"a_{i}.png"), 0) > 0 for i in (1, 2)]
    assert after[0].any()
    assert after[1].any()
    assert not (after[0] & after[1]).any()


def test_photos_may_lie_in_several_folders_but_not_in_two_of_them(tmp_path, small_model):
    photos(tmp_path / "one", "a.jpg")
    photos(tmp_path / "two", "b.jpg")
    for name in ("a", "b"):
        save(tmp_path / "masks" / f"{name}.png", mask_of(50))
    run = ["refine", tmp_path / "masks", "-o", tmp_path / "out", "--model", small_model, "--passes", 1, "-q"]
    both = ["--images", tmp_path / "one", "--images", tmp_path / "two"]
    found = run_bpr(*run, *both)
    assert found.returncode == 0, found.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    shutil.copy(tmp_path / "one" / "a.jpg", tmp_path / "two")
    found = run_bpr(*run, *both)
    assert found.returncode == 2
    assert "several files match" in found.stderr
    assert str(tmp_path / "two" / "a.jpg") in found.stderr.replace("\n", "")


def test_masks_without_photos_are_refused_by_name(tmp_path):
    photos(tmp_path / "photos", "a.jpg")
    save(tmp_path / "masks" / "b_1.png", mask_of(50))
    with pytest.raises(InputError, match=r"no photos for the masks b_1\.png"):
        read_results(tmp_path / "masks", images=tmp_path / "photos")
    with pytest.raises(InputError, match="Give their folder with --images"):
        read_results(tmp_path / "masks")
    save(tmp_path / "masks" / "b_1.bmp", mask_of(50))
    with pytest.raises(InputError, match=r"has the name of .*b_1\.bmp"):
        read_results(tmp_path / "masks", images=tmp_path / "photos")


def test_masks_of_one_photo_may_be_named_by_folder_and_by_pattern(tmp_path):
    photos(tmp_path, "a.jpg")
    for name in ("m/1.png", "m/2.png", "m/notes.txt", "other.png"):
        save(tmp_path / name, mask_of(50)) if name.endswith(".png") else (tmp_path / name).write_text("-")
    by_folder, by_pattern = (
        [i.segmentation.name for i in mask_images.read(tmp_path / "a.jpg", [tmp_path / named]).images[0].instances]
        for named in ("m", "*/?.png")
    )
    assert by_folder == by_pattern == ["1.png", "2.png"]
    with pytest.raises(InputError, match="there are no mask images"):
        mask_images.read(tmp_path / "a.jpg", [tmp_path / "x*.png"])
    with pytest.raises(InputError, match="a folder, not a photo"):
        mask_images.read(tmp_path, [tmp_path / "m"])


def test_what_cannot_be_used_is_copied_as_it_is_where_bad_ones_are_skipped(tmp_path, small_model):
    photos(tmp_path / "photos", "a.jpg", "c.jpg")
    for name in ("a", "b", "c"):
        save(tmp_path / "masks" / f"{name}.png", mask_of(50))
    broken = (tmp_path / "masks" / "c.png").read_bytes()[:-20]
    (tmp_path / "masks" / "c.png").write_bytes(broken)
    run = ["refine", tmp_path / "masks", "-o", tmp_path / "out", "--images", tmp_path / "photos", "-q"]
    assert run_bpr(*run).returncode == 2
    found = run_bpr(*run, "--skip-bad", "--model", small_model, "--passes", 1)
    assert found.returncode == 0, found.stderr
    assert "1 image cannot be used, 2 instances left as they were" in found.stderr
    assert (tmp_path / "out" / "c.png").read_bytes() == broken
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "b.png"), 0), mask_of(50))
