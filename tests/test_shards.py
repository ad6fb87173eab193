"""Patch shards on disk."""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import zlib

import cv2
import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

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


def tar_of(path, members):
    """A tar of (name, data) or of ready-made headers."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            header = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def png(height=8, width=8, channels=3, value=0):
    return cv2.imencode(".png", np.full((height, width, channels), value, np.uint8))[1].tobytes()


def good_members(key="k0"):
    mask = png(channels=1, value=255)
    return {f"{key}.image.png": png(), f"{key}.coarse.png": mask, f"{key}.target.png": mask, f"{key}.json": b"{}"}


def link(name):
    header = tarfile.TarInfo(name)
    header.type, header.linkname = tarfile.SYMTYPE, "/etc/hostname"
    return header


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("plain file", [(link("k0.coarse.png"), b"")]),
        ("belongs to no patch", [("./k0.json", b"{}")]),
        ("belongs to no patch", [("k0.txt", b"")]),
        ("belongs to no patch", [("k\udcff0.json", b"{}")]),
        ("belongs to no patch", [("k\n0.json", b"{}")]),
        ("twice", [("k0.json", b"{}"), ("k0.json", b"{}")]),
        ("lacks coarse.png", [("k0.image.png", png()), ("k0.target.png", png()), ("k0.json", b"{}")]),
    ],
)
def test_a_tar_that_is_no_shard_is_refused_in_a_line_that_can_be_printed(tmp_path, name, members):
    with pytest.raises(InputError, match=name) as caught:
        ShardReader([tar_of(tmp_path / "x.tar", members)])
    str(caught.value).encode()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("size", ["77777777777", "00000077777"])
def test_a_member_larger_than_the_shard_is_refused(tmp_path, size):
    path = tar_of(tmp_path / "x.tar", good_members().items())
    data = bytearray(path.read_bytes())
    data[124:135] = size.encode()
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    path.write_bytes(data)
    with pytest.raises(InputError, match="more than the shard holds"):
        ShardReader([path])


def longer_chunk(data):
    """A PNG whose first data chunk claims 4 GB."""
    at = data.index(b"IDAT") - 4
    return data[:at] + b"\xff\xff\xff\xf0" + data[at + 4 :]


def larger_picture(data):
    """A small PNG that claims 100,000 px a side, its checksum right."""
    header = b"IHDR" + struct.pack(">II", 100_000, 100_000) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def changed_pixel(data):
    at = data.index(b"IDAT") + 10
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("member", "data"),
    [
        ("image.png", b""),
        ("image.png", b"no image"),
        ("image.png", longer_chunk(png())),
        ("image.png", larger_picture(png())),
        ("image.png", changed_pixel(png())),
        ("image.png", png()[:-12]),
        ("coarse.png", png(channels=1, value=1)),
        ("target.png", png(9, 8, channels=1)),
        ("image.png", cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()),
    ],
)
def test_a_member_that_is_not_what_it_should_be_is_refused(tmp_path, member, data):
    members = {**good_members(), f"k0.{member}": data}
    reader = ShardReader([tar_of(tmp_path / "x.tar", members.items())])
    with pytest.raises(InputError, match=r"x\.tar"):
        reader.arrays(0)


@pytest.mark.parametrize("data", [b"", b"[1]", b"\xff", b"[" * 100_000])
def test_a_record_that_is_no_json_object_is_refused(tmp_path, data):
    reader = ShardReader([tar_of(tmp_path / "x.tar", {**good_members(), "k0.json": data}.items())])
    assert reader.arrays(0)[1].all()
    with pytest.raises(InputError, match="record"):
        reader.record(0)


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 255)), min_size=1, max_size=20),
    length=st.integers(0, 12_000),
)
def test_whatever_bytes_a_shard_has_it_is_read_or_refused(tmp_path_factory, changes, length):
    path = tar_of(tmp_path_factory.mktemp("shard") / "x.tar", (good_members() | good_members("k1")).items())
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    path.write_bytes(data[: length if length % 3 == 0 else len(data)])
    try:
        reader = ShardReader([path])
    except InputError:
        return
    for read in (reader.arrays, reader.record):
        for index in range(len(reader)):
            with contextlib.suppress(InputError):
                read(index)
