"""Label maps: one pixel, one number; what comes out has the form, the palette and the void of what came in."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

import bpr_cli
from bpr_cli.errors import InputError
from bpr_cli.formats import label_maps, label_pixels, mask_images, read_results, write_results
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, to_frame
from bpr_cli.notices import InputWarning
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from tests.conftest import run_bpr

pytestmark = pytest.mark.filterwarnings("ignore::bpr_cli.notices.InputWarning")
HEIGHT, WIDTH = 96, 128
VOID = 255


def voc_palette():
    """As VOC's development kit makes it: the bits of the index, dealt to red, green and blue from the top."""
    colours = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            colours[index, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return colours


def two_objects(with_void=True):
    """Objects 1 and 3, which touch, and a band of void around the second."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[20:70, 10:60] = 1
    cv2.circle(labels, (85, 50), 25, 3, -1)
    if with_void:
        cv2.circle(labels, (85, 50), 27, VOID, 3)
    return labels


def save(path, labels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette is not None:
        image.putpalette(palette.tobytes())
    image.save(path)


def photo(path, labels):
    """Objects of a colour each on grey, drawn a little beside their masks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    cv2.imwrite(str(path), np.roll(colours[labels], 3, axis=1))


@pytest.fixture(scope="module")
def refiner(small_model):
    return Refiner.from_pretrained(small_model, "cpu", "fp32", RefineSettings(passes=1, flips=False, caution=0))


def refined(source, out, refiner, images):
    bpr_cli.refine(source, out, images=images, model=refiner, quiet=True)
    return {path.relative_to(out).as_posix(): Image.open(path) for path in sorted(out.rglob("*.png"))}


def as_masks(results):
    return [
        to_frame(decode_mask(instance, entry.image.height, entry.image.width)).astype(bool)
        for entry in results.images
        for instance in entry.instances
    ]


def test_each_value_is_an_object_and_void_is_none(tmp_path):
    labels = two_objects()
    save(tmp_path / "maps" / "a.png", labels, voc_palette())
    results = read_results(tmp_path / "maps")
    one, two = as_masks(results)
    assert np.array_equal(one, labels == 1)
    assert np.array_equal(two, labels == 3)
    assert np.array_equal(to_frame(decode_mask(results.images[0].void, HEIGHT, WIDTH)), labels == VOID)


def test_written_maps_have_the_same_palette_and_are_the_same_where_nothing_is_new(tmp_path):
    labels = two_objects()
    for name in ("bear/00000", "bear/00001"):
        save(tmp_path / "maps" / f"{name}.png", labels, voc_palette())
    results = read_results(tmp_path / "maps")
    moved = np.roll(labels == 1, 8, axis=0) & (labels != VOID) & (labels != 3)
    new = [encode_rle(crop_mask(moved, 0, 0, HEIGHT, WIDTH)), None, None, None]
    write_results(results, new, tmp_path / "out")
    with Image.open(tmp_path / "out" / "bear" / "00000.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.reshape(image.getpalette(), (-1, 3))[:4], voc_palette()[:4])
        written = np.asarray(image)
    wanted = np.where(moved, 1, np.where(labels == 1, 0, labels))
    assert np.array_equal(written, wanted)
    unchanged = tmp_path / "maps" / "bear" / "00001.png"
    assert (tmp_path / "out" / "bear" / "00001.png").read_bytes() == unchanged.read_bytes()


def test_a_folder_of_davis_is_refined_by_sequence_and_stays_a_partition(tmp_path, refiner):
    labels = two_objects()
    for name in ("bear/00000", "camel/00000"):
        save(tmp_path / "Annotations" / f"{name}.png", labels, voc_palette())
        photo(tmp_path / "JPEGImages" / f"{name}.jpg", labels)
    found = refined(tmp_path / "Annotations", tmp_path / "out", refiner, None)
    assert list(found) == ["bear/00000.png", "camel/00000.png"]
    for image in found.values():
        after = np.asarray(image)
        assert image.mode == "P"
        assert np.array_equal(after == VOID, labels == VOID)
        assert set(np.unique(after)) == {0, 1, 3, VOID}
        assert (after != labels).any()


def test_voc_objects_are_ground_truth_with_the_classes_of_the_map_beside(tmp_path):
    labels = two_objects()
    classes = np.select([labels == 1, labels == 3, labels == VOID], [12, 15, VOID], 0).astype(np.uint8)
    save(tmp_path / "VOC" / "SegmentationObject" / "2007_000032.png", labels, voc_palette())
    save(tmp_path / "VOC" / "SegmentationClass" / "2007_000032.png", classes, voc_palette())
    results = [
        {
            "image_id": "2007_000032",
            "category_id": category,
            "score": 0.9,
            "segmentation": encode_rle(crop_mask(labels == value, 0, 0, HEIGHT, WIDTH)),
        }
        for value, category in ((1, 12), (3, 15))
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    found = bpr_cli.evaluate(tmp_path / "results.json", tmp_path / "VOC" / "SegmentationObject", quiet=True)
    assert (found.scored.figures.ap, found.truths) == (pytest.approx(1), 2)
    truth = read_results(tmp_path / "VOC" / "SegmentationObject")
    assert [truth.categories[i.category_id] for i in truth.images[0].instances] == ["dog", "person"]


def test_a_photo_with_a_map_of_objects_is_refined_to_a_map(tmp_path, refiner):
    labels = two_objects()
    photo(tmp_path / "a.jpg", labels)
    save(tmp_path / "map.png", labels, voc_palette())
    with pytest.warns(InputWarning, match="each of its values was taken for an object"):
        bpr_cli.refine(tmp_path / "a.jpg", tmp_path / "out", masks=tmp_path / "map.png", model=refiner, quiet=True)
    after = np.asarray(Image.open(tmp_path / "out" / "map.png"))
    assert set(np.unique(after)) == {0, 1, 3, VOID}
    assert np.array_equal(after == VOID, labels == VOID)


def test_integer_maps_of_16_bits_stay_such(tmp_path, refiner):
    labels = two_objects(with_void=False).astype(np.uint16)
    photo(tmp_path / "photos" / "a.jpg", labels)
    save(tmp_path / "maps" / "a.png", labels)
    after = refined(tmp_path / "maps", tmp_path / "out", refiner, tmp_path / "photos")["a.png"]
    assert after.mode == "I;16"
    assert set(np.unique(np.asarray(after))) == {0, 1, 3}


@pytest.mark.parametrize("levels", [(0, 128, 255), (0, 85, 170), (60, 120, 200)])
def test_what_may_be_a_trimap_is_no_map_of_objects(tmp_path, levels):
    labels = np.array(levels, np.uint8)[np.minimum(two_objects(with_void=False), 2)]
    cv2.imwrite(str(tmp_path / "a.jpg"), labels)
    save(tmp_path / "trimap.png", labels)
    results = mask_images.read(tmp_path / "a.jpg", [tmp_path / "trimap.png"])
    with pytest.raises(InputError):
        decode_mask(results.images[0].instances[0], HEIGHT, WIDTH)


def test_classes_have_a_mask_for_each_large_part_and_share_out_all_pixels(tmp_path, refiner):
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:40] = 1
    labels[50:96, 0:40] = labels[50:96, 80:128] = 2
    labels[44:46, 60:62] = 2
    labels[:, 125:] = VOID
    save(tmp_path / "maps" / "a.png", labels)
    photo(tmp_path / "photos" / "a.jpg", labels)
    results = read_results(tmp_path / "maps")
    masks = as_masks(results)
    assert [instance.category_id for instance in results.images[0].instances] == [0, 1, 2, 2, 2]
    assert np.array_equal(np.sum(masks, axis=0), labels != VOID)
    after = refined(tmp_path / "maps", tmp_path / "out", refiner, tmp_path / "photos")["a.png"]
    assert after.mode == "L"
    assert np.array_equal(np.asarray(after) == VOID, labels == VOID)
    assert set(np.unique(np.asarray(after))) == {0, 1, 2, VOID}
    assert (np.asarray(after) != labels).any()


def test_class_maps_of_voc_are_told_by_their_folder(tmp_path):
    labels = two_objects()
    save(tmp_path / "SegmentationClass" / "a.png", labels, voc_palette())
    results = read_results(tmp_path / "SegmentationClass")
    assert (results.kind, results.layout) == ("class-maps", "segments")


def test_a_folder_of_masks_is_none_of_label_maps(tmp_path):
    save(tmp_path / "masks" / "a.png", np.uint8(two_objects() == 1) * 255)
    assert not label_maps.is_folder(tmp_path / "masks")


def test_a_map_is_decoded_once_however_many_objects_it_has(tmp_path, monkeypatch):
    labels = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) // 400
    save(tmp_path / "maps" / "a.png", labels)
    decoded = []
    monkeypatch.setattr(label_pixels, "read_bytes", lambda path: decoded.append(path) or path.read_bytes())
    assert len(as_masks(read_results(tmp_path / "maps"))) == labels.max()
    assert len(decoded) == 1


def test_damaged_maps_and_outputs_over_inputs_are_refused(tmp_path):
    save(tmp_path / "maps" / "a.png", two_objects(), voc_palette())
    found = run_bpr("refine", tmp_path / "maps", "-o", tmp_path / "maps", "--images", tmp_path)
    assert (found.returncode, "lie in each other" in found.stderr) == (2, True)
    data = (tmp_path / "maps" / "a.png").read_bytes()
    (tmp_path / "maps" / "a.png").write_bytes(data[:-30])
    found = run_bpr("refine", tmp_path / "maps", "-o", tmp_path / "out", "--images", tmp_path)
    assert (found.returncode, "a.png" in found.stderr) == (2, True), found.stderr


def test_a_damaged_map_among_good_ones_is_copied_where_bad_ones_are_skipped(tmp_path, small_model):
    for name in ("a", "b"):
        save(tmp_path / "maps" / f"{name}.png", two_objects(), voc_palette())
        photo(tmp_path / "photos" / f"{name}.jpg", two_objects())
    broken = bytearray((tmp_path / "maps" / "b.png").read_bytes())
    broken[-30] ^= 255
    (tmp_path / "maps" / "b.png").write_bytes(broken)
    run = ["refine", tmp_path / "maps", "-o", tmp_path / "out", "--images", tmp_path / "photos", "-q"]
    found = run_bpr(*run)
    assert (found.returncode, "b.png" in found.stderr) == (2, True), found.stderr
    found = run_bpr(*run, "--skip-bad", "--model", small_model, "--passes", 1)
    assert (found.returncode, "1 image cannot be used" in found.stderr) == (0, True), found.stderr
    assert (tmp_path / "out" / "b.png").read_bytes() == broken
    assert (tmp_path / "out" / "a.png").is_file()
