"""Which patches a run is made of, and which it refuses."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from bpr_cli.errors import InputError
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.extraction.manifest import write_manifest
from bpr_cli.shards import Patch, write_shard
from bpr_cli.training.loading import PatchDataset, StepSampler, training_batches, validation_batches
from bpr_cli.training.patch_sets import fingerprint_shards, read_patch_sets


def patch(key, side=8):
    mask = np.ones((side, side), np.uint8)
    return Patch(key, np.zeros((side, side, 3), np.uint8), mask, mask, {})


def make_folder(folder, train=(8, 8), val=(8,), **settings):
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, sides in (("train", train), ("val", val)):
        name = f"{split}-000000.tar"
        write_shard(folder / name, [patch(f"{split}{i}", side) for i, side in enumerate(sides)])
        splits[split] = {"shards": [name], "patches": len(sides)}
    made = {
        **asdict(ExtractionSettings()),
        "scales": [1.0],
        "patch_size": 8,
        "padding": 0,
        "scheme": "grid",
        **settings,
    }
    inputs = {"gt": "gt.json", "results": []}
    write_manifest(folder, {"complete": True, "settings": made, "inputs": inputs, "splits": splits})
    return folder


def test_folders_that_fit_are_one_set(tmp_path):
    sets = read_patch_sets([make_folder(tmp_path / "a"), make_folder(tmp_path / "b", train=(8,), val=())])
    assert (len(sets.train), len(sets.val), sets.patch_size, sets.padding, sets.scheme) == (3, 1, 8, 0, "grid")
    mixed = read_patch_sets([tmp_path / "a", make_folder(tmp_path / "c", scheme="dense")])
    assert mixed.scheme is None


def test_shards_are_told_apart_by_what_is_in_them_in_their_order(tmp_path):
    first = fingerprint_shards(read_patch_sets([make_folder(tmp_path / "a")]))
    assert first == fingerprint_shards(read_patch_sets([make_folder(tmp_path / "b")]))
    assert [shard["file"] for shard in first] == ["train-000000.tar", "val-000000.tar"]
    (tmp_path / "b" / "val-000000.tar").write_bytes((tmp_path / "b" / "val-000000.tar").read_bytes() + bytes(10))
    later = fingerprint_shards(read_patch_sets([tmp_path / "b"]))
    assert later[0] == first[0]
    assert later[1] != first[1]


@pytest.mark.parametrize("sides", [(8, 4), (4, 8), (4,), (8, 8, 9)])
@pytest.mark.parametrize("split", ["train", "val"])
def test_patches_of_another_size_are_named_before_the_work(tmp_path, sides, split):
    folder = make_folder(tmp_path, **{split: sides})
    with pytest.raises(InputError, match=rf"{split}-000000\.tar: a patch is \d x \d px, .* 8 x 8"):
        read_patch_sets([folder])


def test_a_mask_of_another_size_than_its_image_is_named(tmp_path):
    folder = make_folder(tmp_path, padding=0)
    odd = Patch("odd", np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8), np.ones((9, 9), np.uint8), {})
    write_shard(folder / "train-000000.tar", [odd])
    with pytest.raises(InputError, match="9 x 9"):
        read_patch_sets([folder])


def test_padding_belongs_to_the_size(tmp_path):
    assert read_patch_sets([make_folder(tmp_path, train=(12,), val=(), padding=2)]).padding == 2


def test_nothing_to_train_on_is_said(tmp_path):
    with pytest.raises(InputError, match="no patches to train on"):
        read_patch_sets([])
    folder = make_folder(tmp_path / "empty", train=())
    with pytest.raises(InputError, match="train shards hold no patches"):
        read_patch_sets([folder])


def test_shards_that_were_added_by_hand_are_named(tmp_path):
    folder = make_folder(tmp_path)
    write_shard(folder / "train-000007.tar", [patch("late")])
    with pytest.raises(InputError, match=r"not in the manifest: train-000007\.tar"):
        read_patch_sets([folder])


def test_folders_of_different_sizes_are_refused(tmp_path):
    folders = [make_folder(tmp_path / "a"), make_folder(tmp_path / "b", padding=1)]
    with pytest.raises(InputError, match="8 px with a padding of 0 and 8 px with a padding of 1"):
        read_patch_sets(folders)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_patch_that_breaks_in_a_worker_is_an_input_error_of_one_line(tmp_path, workers):
    dataset = PatchDataset([make_folder(tmp_path) / "train-000000.tar"])
    shard = tmp_path / "train-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"IDAT", b"IDIT"))
    with pytest.raises(InputError, match=r"train-000000\.tar") as caught:
        list(training_batches(dataset, StepSampler(2, 2, 1, 0), workers, pin_memory=False))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"train-000000\.tar"):
        list(validation_batches(dataset, 0, 1))


def test_validation_is_shared_by_the_processes(tmp_path):
    dataset = PatchDataset([make_folder(tmp_path, train=(8,) * 5) / "train-000000.tar"])
    shares = [torch.cat([images for images, _, _ in validation_batches(dataset, rank, 2)]) for rank in range(2)]
    assert [len(share) for share in shares] == [3, 2]
