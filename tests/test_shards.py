"""Patch shards on disk."""

from __future__ import annotations

import numpy as np
import pytest
import webdataset

from bpr_cli.errors import InputError
from bpr_cli.shards import Patch, ShardReader, write_shard


def make_patches(count: int, size: int = 16) -> list[Patch]:
    rng = np.random.default_rng(0)
    return [
        Patch(
            f"train-000000-{i:02d}-000000",
            rng.integers(0, 256, (size, size, 3), np.uint8),
            rng.integers(0, 2, (size, size), np.uint8),
            rng.integers(0, 2, (size, size), np.uint8),
            {"image_id": i, "instance": 2 * i, "box": [0, 0, size, size], "iou": 0.75, "source": "r.json"},
        )
        for i in range(count)
    ]


def test_patches_come_back_as_they_were_in_any_order(tmp_path):
    patches = make_patches(5)
    write_shard(tmp_path / "train-000000.tar", patches[:3])
    write_shard(tmp_path / "train-000001.tar", patches[3:])
    reader = ShardReader([tmp_path / "train-000000.tar", tmp_path / "train-000001.tar"])
    assert len(reader) == 5
    for i in (4, 0, 3, 1, 2):
        image, coarse, target = reader.arrays(i)
        assert np.array_equal(image, patches[i].image_HWC)
        assert np.array_equal(coarse, patches[i].coarse_HW)
        assert np.array_equal(target, patches[i].target_HW)
        assert reader.record(i) == patches[i].record


def test_the_plain_webdataset_library_reads_them(tmp_path):
    patches = make_patches(3)
    write_shard(tmp_path / "train-000000.tar", patches)
    dataset = webdataset.WebDataset(str(tmp_path / "train-000000.tar"), shardshuffle=False).decode("rgb8")
    samples = list(dataset)
    assert [sample["__key__"] for sample in samples] == [patch.key for patch in patches]
    for sample, patch in zip(samples, patches, strict=True):
        assert np.array_equal(sample["image.png"], patch.image_HWC)
        assert np.array_equal(sample["coarse.png"][..., 0], patch.coarse_HW * 255)
        assert np.array_equal(sample["target.png"][..., 0], patch.target_HW * 255)
        assert sample["json"] == patch.record


def test_equal_patches_make_equal_bytes(tmp_path):
    for name in ("a.tar", "b.tar"):
        write_shard(tmp_path / name, make_patches(2))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_failure_while_writing_leaves_no_shard(tmp_path):
    def broken():
        yield make_patches(1)[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "train-000000.tar", broken())
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_shard_is_named(tmp_path):
    path = tmp_path / "train-000000.tar"
    write_shard(path, make_patches(3))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"train-000000\.tar"):
        ShardReader([path]).arrays(0)
