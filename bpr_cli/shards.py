"""Patch shards on disk: WebDataset tar files, four members a patch.

    KEY.image.png   RGB patch
    KEY.coarse.png  the mask to refine, 0 / 255
    KEY.target.png  the true mask, 0 / 255
    KEY.json        image id, instance index, box, IoU, source

Any WebDataset reader streams them. Training reads them by position instead: members are found once from the
tar headers, so that any order, any number of processes and an exact restart cost a seek each.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import webdataset
from numpy.typing import NDArray

from bpr_cli.errors import InputError
from bpr_cli.files import replacing

MEMBERS = ("image.png", "coarse.png", "target.png", "json")
SPLITS = ("train", "val")


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One training patch.

    Attributes:
        key: unique within the shard folder; no dots.
        image_HWC: uint8 RGB.
        coarse_HW, target_HW: uint8, 0 or 1, of the image's height and width.
        record: JSON-ready: image_id, instance, box, iou, source.
    """

    key: str
    image_HWC: NDArray[np.uint8]
    coarse_HW: NDArray[np.uint8]
    target_HW: NDArray[np.uint8]
    record: dict[str, Any]


def write_shard(path: Path, patches: Iterable[Patch]) -> int:
    """Write a shard whole or not at all; returns the number of patches.

    The bytes depend on the patches alone (no times, no user names), so that equal shards compare equal.
    """
    count = 0
    with (
        replacing(path) as temporary,
        temporary.open("wb") as stream,
        webdataset.TarWriter(stream, mtime=0, user="bpr", group="bpr", encoder=False) as writer,
    ):
        for patch in patches:
            writer.write(
                {
                    "__key__": patch.key,
                    "image.png": _png(patch.image_HWC[..., ::-1]),  # OpenCV writes BGR
                    "coarse.png": _png(patch.coarse_HW * np.uint8(255)),
                    "target.png": _png(patch.target_HW * np.uint8(255)),
                    "json": json.dumps(patch.record).encode(),
                }
            )
            count += 1
    return count


def list_shards(folder: Path, split: str) -> list[Path]:
    """The folder's shards of a split ("train" or "val"), in order of name."""
    return sorted(folder.glob(f"{split}-*.tar"))


class ShardReader:
    """Random access to the patches of some shards, in the order of the shards and their members.

    Args:
        shards: tar files as `write_shard` makes them.

    Raises:
        InputError: a shard is missing, broken, or lacks a member of a patch.
    """

    def __init__(self, shards: Sequence[Path]) -> None:
        self.shards = list(shards)
        tables = [_member_table(shard) for shard in self.shards]
        self._shard_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        self._members = np.concatenate(tables) if tables else np.zeros((0, len(MEMBERS), 2), np.int64)

    def __len__(self) -> int:
        return len(self._members)

    def arrays(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """RGB image (H, W, 3), coarse mask and target mask (H, W, 0 or 1) of one patch."""
        image, coarse, target = self._read(index, 3)
        shard = self.shards[self._shard_of[index]]
        bgr = _decode(image, cv2.IMREAD_COLOR, shard)
        masks = (_decode(data, cv2.IMREAD_GRAYSCALE, shard) // 255 for data in (coarse, target))
        coarse_HW, target_HW = masks
        return np.ascontiguousarray(bgr[..., ::-1]), coarse_HW, target_HW

    def record(self, index: int) -> dict[str, Any]:
        """The JSON record of one patch."""
        return json.loads(self._read(index, 4)[3])

    def _read(self, index: int, count: int) -> list[bytes]:
        with self.shards[self._shard_of[index]].open("rb") as stream:
            members = []
            for offset, size in self._members[index, :count]:
                stream.seek(int(offset))
                members.append(stream.read(int(size)))
        return members


def _member_table(shard: Path) -> NDArray[np.int64]:
    """(N, 4, 2): offset and size in bytes of each patch's members, in the order of `MEMBERS`."""
    places: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                places.setdefault(key, {})[extension] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"the shard cannot be read ({error})", file=shard, remedy="Extract the patches again"
        ) from error
    for key, found in places.items():
        missing = [name for name in MEMBERS if name not in found]
        if missing:
            raise InputError(f"patch {key} lacks {', '.join(missing)}", file=shard, remedy="Extract it again")
    table = [[found[name] for name in MEMBERS] for found in places.values()]
    return np.array(table, np.int64).reshape(-1, len(MEMBERS), 2)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes()


def _decode(data: bytes, flag: int, shard: Path) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if pixels is None:
        raise InputError("a patch cannot be decoded", file=shard, remedy="Extract the patches again")
    return np.asarray(pixels, np.uint8)
