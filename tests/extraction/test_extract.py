"""`extract`: what is in the shards, and that nothing but inputs and settings decides it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bpr_cli import shards
from bpr_cli.errors import InputError
from bpr_cli.extraction.extract import extract
from bpr_cli.extraction.extraction_settings import ExtractionSettings, parse_scales
from bpr_cli.extraction.manifest import read_manifest, write_manifest
from bpr_cli.extraction.plan import plan_shards
from bpr_cli.formats import read_results
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import read_image
from bpr_cli.formats.rle import decode_rle
from bpr_cli.masks import intersection_over_union, to_frame


def run(data, out, *, results=True, **options):
    settings = ExtractionSettings(**{"split_by": "sequence", "val_fraction": 0.3, **options.pop("settings", {})})
    given = [data.results] if results else []
    return extract(data.images, data.gt, out, results=given, settings=settings, quiet=True, **options)


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.tar"))}


def test_patches_are_crops_of_photo_detection_and_truth_at_the_recorded_box(three_photos, tmp_path):
    run(three_photos, tmp_path)
    gt = json.loads(three_photos.gt.read_text())
    detections = json.loads(three_photos.results.read_text())
    names = {image["id"]: image["file_name"] for image in gt["images"]}
    truths = {a["image_id"]: decode_rle(a["segmentation"]) for a in gt["annotations"]}
    reader = shards.ShardReader(shards.list_shards(tmp_path, "train") + shards.list_shards(tmp_path, "val"))
    assert len(reader) > 20
    for index in range(0, len(reader), 7):
        image, coarse, target = reader.arrays(index)
        record = reader.record(index)
        x1, y1, x2, y2 = record["box"]
        photo = read_image(three_photos.images / names[record["image_id"]])
        detection = decode_rle(detections[record["instance"]]["segmentation"])
        assert detections[record["instance"]]["image_id"] == record["image_id"]
        assert np.array_equal(image, photo[y1:y2, x1:x2])
        assert np.array_equal(coarse, to_frame(detection)[y1:y2, x1:x2])
        assert np.array_equal(target, to_frame(truths[record["image_id"]])[y1:y2, x1:x2])
        assert record["iou"] == pytest.approx(intersection_over_union(detection, truths[record["image_id"]]), abs=1e-6)
        assert record["iou"] > 0.5
        assert record["source"] == three_photos.results.name


def test_the_number_of_processes_changes_nothing(example, tmp_path):
    manifests = [run(example, tmp_path / str(n), processes=n, settings={"corruptions": 1}) for n in (1, 2)]
    assert manifests[0] == manifests[1]
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")


def test_another_seed_makes_other_patches(three_photos, tmp_path):
    for seed in (0, 1):
        run(three_photos, tmp_path / str(seed), results=False, settings={"corruptions": 1, "seed": seed})
    assert hashes(tmp_path / "0") != hashes(tmp_path / "1")


def test_an_interrupted_extraction_goes_on_and_ends_the_same(three_photos, tmp_path):
    run(three_photos, tmp_path / "whole")
    # What a kill in the middle leaves: one shard done, the manifest incomplete.
    settings = ExtractionSettings(split_by="sequence", val_fraction=0.3)
    truth, results = read_results(three_photos.gt), read_results(three_photos.results)
    paths = ImageFinder(three_photos.images).find_all([entry.image for entry in truth.images])
    first, *_ = plan_shards(truth, [results], paths, settings)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    manifest = json.loads((tmp_path / "cut" / "manifest.json").read_text())
    (tmp_path / "cut" / "manifest.json").write_text(
        json.dumps({key: manifest[key] for key in ("settings", "inputs")} | {"complete": False})
    )
    for path in (tmp_path / "cut").iterdir():
        if path.name != "manifest.json" and not path.name.startswith(first.name):
            path.unlink()
    with pytest.raises(InputError, match="not finished"):
        read_manifest(tmp_path / "cut")
    written = (tmp_path / "cut" / f"{first.name}.tar").stat().st_mtime_ns
    assert run(three_photos, tmp_path / "cut") == manifest
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")
    assert (tmp_path / "cut" / f"{first.name}.tar").stat().st_mtime_ns == written


def test_other_settings_do_not_mix_with_what_is_there_and_are_named(three_photos, tmp_path):
    run(three_photos, tmp_path)
    with pytest.raises(InputError, match=r"other inputs or settings \(nms_threshold 0.25 -> 0.5\)"):
        run(three_photos, tmp_path, settings={"nms_threshold": 0.5})


@pytest.fixture
def own_data(three_photos, tmp_path):
    """Photos, ground truth and results that a test may change."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for image in json.loads(three_photos.gt.read_text())["images"]:
        target = folder / "images" / image["file_name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(three_photos.images / image["file_name"], target)
    gt = shutil.copy(three_photos.gt, folder / "gt.json")
    results = shutil.copy(three_photos.results, folder / "results.json")
    return replace(three_photos, images=folder / "images", gt=gt, results=results)


def rescored(path):
    """The same file but for one score, of as many digits."""
    text = path.read_text()
    at = text.index('"score": 0.') + len('"score": 0.')
    path.write_text(text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :])


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("changed", ["gt", "results", "photo", "time of a photo"])
def test_shards_of_inputs_that_have_changed_under_the_same_names_are_refused_and_the_input_named(
    own_data, tmp_path, changed, finished
):
    manifest = run(own_data, tmp_path / "out")
    if not finished:
        cut = {**{key: manifest[key] for key in ("settings", "inputs")}, "complete": False}
        (tmp_path / "out" / "manifest.json").write_text(json.dumps(cut))
    photo = next(path for path in sorted(own_data.images.rglob("*")) if path.is_file())
    if changed == "gt":
        gt = json.loads(own_data.gt.read_text())
        own_data.gt.write_text(json.dumps({**gt, "annotations": gt["annotations"][::-1]}))
        named = "gt.json has changed"
    elif changed == "results":
        rescored(own_data.results)
        named = "results.json has changed"
    else:
        if changed == "photo":
            photo.write_bytes(photo.read_bytes() + b"\0")
        os.utime(photo, ns=(0, 1))
        named = f"{photo.name}: the photo has changed"
    with pytest.raises(InputError, match=named):
        run(own_data, tmp_path / "out")


def test_the_manifest_tells_size_and_hash_of_each_shard(three_photos, tmp_path):
    manifest = run(three_photos, tmp_path)
    assert {name: entry["sha256"] for name, entry in manifest["shards"].items()} == hashes(tmp_path)
    assert all((tmp_path / name).stat().st_size == entry["size"] for name, entry in manifest["shards"].items())


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("train-000000.tar", b""),
        ("train-000000.tar", None),
        ("train-000000.tar", b"\0" * 10240),
        ("train-000000.tar", "a changed byte"),
        ("train-000000.report.json", b""),
        ("train-000000.report.json", b"[]"),
        ("train-000000.report.json", None),
        ("manifest.json", b""),
        ("manifest.json", b"\0" * 100),
    ],
)
def test_what_a_power_cut_emptied_or_damaged_is_done_again_and_ends_the_same(three_photos, tmp_path, file, data):
    manifest = run(three_photos, tmp_path)
    whole, path = hashes(tmp_path), tmp_path / file
    if data is None:
        path.unlink()
    elif isinstance(data, str):
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
    else:
        path.write_bytes(data)
    assert run(three_photos, tmp_path) == manifest
    assert hashes(tmp_path) == whole
    assert read_manifest(tmp_path) == manifest


def test_shards_without_a_manifest_that_are_not_ours_are_left_alone(three_photos, tmp_path):
    (tmp_path / "train-000000.tar").write_bytes(b"precious")
    with pytest.raises(InputError, match="shards without"):
        run(three_photos, tmp_path)
    assert (tmp_path / "train-000000.tar").read_bytes() == b"precious"


@pytest.mark.parametrize("fault", ["missing", "another size"])
def test_a_finished_extraction_that_lost_a_shard_is_not_trained_on(three_photos, tmp_path, fault):
    run(three_photos, tmp_path)
    shard = tmp_path / "train-000000.tar"
    if fault == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(InputError, match=r"train-000000\.tar"):
        read_manifest(tmp_path)


def broken_manifests(manifest):
    settings = manifest["settings"]
    yield from ("{", "3", "[]", "null", '"text"', "{}", "[" * 100_000, "\udcff")
    for changes in (
        {"settings": 2954},
        {"settings": []},
        {"settings": {**settings, "patch_size": "64"}},
        {"settings": {**settings, "patch_size": 0}},
        {"settings": {**settings, "padding": None}},
        {"settings": {**settings, "scheme": "other"}},
        {"settings": {**settings, "scales": 1}},
        {"settings": {**settings, "mood": 1}},
        {"settings": {key: value for key, value in settings.items() if key != "padding"}},
        {"inputs": 1},
        {"inputs": {"gt": "gt.json", "results": 1620}},
        {"inputs": {"results": []}},
        {"complete": "yes"},
        {"splits": [1]},
        {"splits": {"train": [[0, 0]]}},
        {"splits": {"train": {"shards": [0], "patches": 1}}},
        {"shards": [1]},
        {"shards": {"train-000000.tar": 1}},
    ):
        yield json.dumps({**manifest, **changes})


def test_a_broken_or_foreign_manifest_is_named_by_both_who_read_it(three_photos, tmp_path):
    manifest = run(three_photos, tmp_path)
    for text in broken_manifests(manifest):
        (tmp_path / "manifest.json").write_text(text, errors="surrogateescape")
        with pytest.raises(InputError, match=r"manifest\.json: the manifest is broken"):
            read_manifest(tmp_path)
        with pytest.raises(InputError, match=r"manifest\.json: the manifest is broken"):
            run(three_photos, tmp_path)


def test_names_as_plain_text_are_paths(three_photos, tmp_path):
    given = [str(three_photos.results)]
    manifest = extract(str(three_photos.images), str(three_photos.gt), str(tmp_path), results=given, quiet=True)
    assert manifest["complete"]


def test_the_split_keeps_sequences_together(example, tmp_path):
    manifest = run(example, tmp_path)
    sequence = {image["id"]: image["sequence"] for image in json.loads(example.gt.read_text())["images"]}
    seen = {}
    for split in ("train", "val"):
        reader = shards.ShardReader(shards.list_shards(tmp_path, split))
        seen[split] = {sequence[reader.record(i)["image_id"]] for i in range(len(reader))}
        assert manifest["splits"][split]["patches"] == len(reader)
    assert seen["train"]
    assert seen["val"]
    assert not seen["train"] & seen["val"]


def test_a_sample_takes_no_detection_twice(example, tmp_path):
    def keys(folder):
        reader = shards.ShardReader(shards.list_shards(folder, "train") + shards.list_shards(folder, "val"))
        records = [reader.record(i) for i in range(len(reader))]
        return [(r["image_id"], r["instance"], tuple(r["box"])) for r in records]

    run(example, tmp_path / "all")
    run(example, tmp_path / "half", settings={"sample": 0.5})
    everything, half = keys(tmp_path / "all"), keys(tmp_path / "half")
    assert len(set(half)) == len(half)
    assert set(half) < set(everything)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"padding": 8}, (80, 80, 3)),
        ({"patch_size": 48}, (48, 48, 3)),
        ({"scheme": "grid"}, (64, 64, 3)),
        ({"scheme": "instance", "patch_size": 256}, (256, 256, 3)),
    ],
)
def test_every_scheme_and_size_gives_patches(three_photos, tmp_path, settings, shape):
    run(three_photos, tmp_path, settings=settings)
    image, coarse, target = shards.ShardReader(shards.list_shards(tmp_path, "train")).arrays(0)
    assert image.shape == shape
    assert coarse.shape == target.shape == shape[:2]


def test_ground_truth_alone_is_enough_with_corruptions(three_photos, tmp_path):
    manifest = run(three_photos, tmp_path, results=False, settings={"corruptions": 2})
    assert manifest["counts"]["corruptions"] + manifest["counts"].get("corruptions_too_strong", 0) == 6
    with pytest.raises(InputError, match="--corruptions"):
        run(three_photos, tmp_path / "none", results=False)


def test_a_broken_photo_is_named_or_skipped(three_photos, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(three_photos.images, images)
    gt = json.loads(three_photos.gt.read_text())
    victim = images / gt["images"][0]["file_name"]
    victim.write_bytes(victim.read_bytes()[:20_000])
    settings = ExtractionSettings()
    with pytest.raises(InputError, match=victim.name):
        extract(images, three_photos.gt, tmp_path / "a", results=[three_photos.results], settings=settings, quiet=True)
    manifest = extract(
        images, three_photos.gt, tmp_path / "b", results=[three_photos.results], settings=settings, skip_bad=True,
        quiet=True,
    )  # fmt: skip
    assert len(manifest["skipped"]) == 1
    assert victim.name in manifest["skipped"][0]


def test_results_of_other_images_are_refused(three_photos, tmp_path):
    other = [{**r, "image_id": r["image_id"] + 10**6} for r in json.loads(three_photos.results.read_text())]
    path = tmp_path / "other.json"
    path.write_text(json.dumps(other))
    with pytest.raises(InputError, match="none of its image ids"):
        extract(three_photos.images, three_photos.gt, tmp_path / "out", results=[path], quiet=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"patch_size": 0}, {"padding": -1}, {"nms_threshold": 1.5}, {"scheme": "dens"}, {"sample": 0.0},
        {"val_fraction": 1.0}, {"corruptions": -1}, {"scheme": "instance", "padding": 4},
        {"seed": -1}, {"patch_size": 4000, "padding": 50},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(InputError):
        ExtractionSettings(**changes)


def test_reduced_photos_give_patches_of_smaller_objects_and_leave_the_others_as_they_were(three_photos, tmp_path):
    for name, scales in (("whole", (1.0,)), ("both", (1.0, 0.5))):
        run(three_photos, tmp_path / name, settings={"scales": scales, "corruptions": 1})
    gt = json.loads(three_photos.gt.read_text())
    names = {image["id"]: image["file_name"] for image in gt["images"]}
    readers = {
        name: shards.ShardReader(
            shards.list_shards(tmp_path / name, "train") + shards.list_shards(tmp_path / name, "val")
        )
        for name in ("whole", "both")
    }
    whole = {readers["whole"].arrays(i)[0].tobytes() for i in range(len(readers["whole"]))}
    found = readers["both"]
    scales = [found.record(i)["scale"] for i in range(len(found))]
    assert {found.arrays(i)[0].tobytes() for i in range(len(found)) if scales[i] == 1.0} == whole
    reduced = [i for i in range(len(found)) if scales[i] == 0.5]
    assert len(reduced) > 5
    for index in reduced[::3]:
        image, coarse, target = found.arrays(index)
        record = found.record(index)
        photo = read_image(three_photos.images / names[record["image_id"]])
        x1, y1, x2, y2 = record["box"]
        # Every pixel of a photo of half the size is the mean of a square of four.
        square = photo[2 * y1 : 2 * y2, 2 * x1 : 2 * x2].reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.abs(square - image).max() <= 1.5
        assert 0.5 < record["iou"] <= 1
        assert coarse.any()
        assert target.any()


@pytest.mark.parametrize("text", ["", "a", "1;2"])
def test_scales_that_are_no_numbers_are_refused(text):
    with pytest.raises(InputError, match="--scales"):
        parse_scales(text)


@pytest.mark.parametrize("scales", [(), (0.0,), (2.0,), (0.5, 0.5)])
def test_scales_out_of_range_are_refused(scales):
    with pytest.raises(InputError, match="scale"):
        ExtractionSettings(scales=scales)


def test_skip_bad_leaves_out_bad_masks_one_by_one_and_names_them(three_photos, tmp_path):
    gt = json.loads(three_photos.gt.read_text())
    image_id = gt["annotations"][0]["image_id"]
    gt["annotations"].insert(0, {**gt["annotations"][0], "id": 10**6, "segmentation": []})
    gt["annotations"].append({**gt["annotations"][0], "id": 10**6 + 1, "segmentation": None})
    gt["images"].append({**gt["images"][0], "id": 10**6, "width": "wide"})
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    settings = ExtractionSettings(val_fraction=0.0, corruptions=1)
    options = {"settings": settings, "quiet": True}
    whole = extract(three_photos.images, three_photos.gt, tmp_path / "whole", **options)
    with pytest.raises(InputError):
        extract(three_photos.images, tmp_path / "gt.json", tmp_path / "strict", **options)
    rest = extract(
        str(three_photos.images), str(tmp_path / "gt.json"), str(tmp_path / "rest"), skip_bad=True, **options
    )
    assert rest["counts"]["images"] == whole["counts"]["images"]
    assert rest["counts"]["corruptions"] >= whole["counts"]["corruptions"] - 1
    assert (rest["counts"]["images_left_out"], rest["counts"]["instances_left_out"]) == (1, 2)
    assert len(rest["skipped"]) == 3
    assert any(f"image {image_id}, annotation 0: the list of polygons is empty" in line for line in rest["skipped"])


def test_where_nothing_is_left_the_error_says_what_was_left_out(three_photos, tmp_path):
    gt = json.loads(three_photos.gt.read_text())
    for annotation in gt["annotations"]:
        annotation["segmentation"] = []
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    with pytest.raises(InputError, match=r"3 images or masks cannot be used.*annotation [0-2]: the list of polygons"):
        extract(
            three_photos.images, tmp_path / "gt.json", tmp_path / "out", skip_bad=True,
            settings=ExtractionSettings(corruptions=1), quiet=True,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["train-000000.tar", "train-000000.report.json"])
def test_a_folder_in_the_place_of_a_shards_file_is_named_before_any_work(three_photos, tmp_path, name):
    write_manifest(tmp_path, run(three_photos, tmp_path) | {"complete": False})
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="a folder is there") as caught:
        run(three_photos, tmp_path)
    assert caught.value.file == tmp_path / name
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
