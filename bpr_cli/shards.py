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
import struct
import tarfile
import zlib
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
LARGEST_SIDE = 4096  # px of a patch; what claims to be larger is broken, and would take gigabytes
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_SIZE_AT = 16  # bytes before a PNG's width and height


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
        """RGB image (H, W, 3), coarse mask and target mask (H, W, 0 or 1) of one patch.

        Raises:
            InputError: a member is no PNG of a patch, a mask has other values than 0 and 255, or the sizes differ.
        """
        image, coarse, target = self._read(index, 3)
        shard = self.shards[self._shard_of[index]]
        bgr = _decode(image, cv2.IMREAD_COLOR, shard)
        coarse_HW, target_HW = (_decode_mask(data, shard) for data in (coarse, target))
        if not bgr.shape[:2] == coarse_HW.shape == target_HW.shape:
            raise _broken(shard, "the image and the masks of a patch differ in size")
        return np.ascontiguousarray(bgr[..., ::-1]), coarse_HW, target_HW

    def record(self, index: int) -> dict[str, Any]:
        """The JSON record of one patch; InputError if it is none."""
        shard = self.shards[self._shard_of[index]]
        try:
            record = json.loads(self._read(index, 4)[3])
        except (ValueError, RecursionError) as error:
            raise _broken(shard, "a patch's record is not valid JSON") from error
        if not isinstance(record, dict):
            raise _broken(shard, "a patch's record is no JSON object")
        return record

    def check_sides(self, side: int) -> None:
        """Look at every patch's PNG headers.

        Raises:
            InputError: an image or a mask is not `side` x `side` pixels; names its shard.
        """
        for number, shard in enumerate(self.shards):
            with shard.open("rb", buffering=0) as stream:
                for offset in self._members[self._shard_of == number, :3, 0].ravel():
                    stream.seek(int(offset) + PNG_SIZE_AT)
                    found = struct.unpack(">II", stream.read(8).ljust(8, b"\0"))
                    if found != (side, side):
                        raise InputError(
                            f"a patch is {found[0]} x {found[1]} px, those of this folder should be {side} x {side}",
                            file=shard,
                            remedy="Extract the patches again",
                        )

    def _read(self, index: int, count: int) -> list[bytes]:
        shard = self.shards[self._shard_of[index]]
        try:
            with shard.open("rb") as stream:
                members = []
                for offset, size in self._members[index, :count]:
                    stream.seek(int(offset))
                    members.append(stream.read(int(size)))
        except OSError as error:
            raise _broken(shard, f"the shard cannot be read ({error.strerror})") from error
        return members


def _member_table(shard: Path) -> NDArray[np.int64]:
    """(N, 4, 2): offset and size in bytes of each patch's members, in the order of `MEMBERS`."""
    places: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        length = shard.stat().st_size
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, extension = _key_and_extension(member, length, shard)
                if extension in places.setdefault(key, {}):
                    raise _broken(shard, f"patch {key} has {extension} twice")
                places[key][extension] = (member.offset_data, member.size)
    except InputError:
        raise
    # Sizes and names that no tar should hold end in these, deep in tarfile.
    except (OSError, tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise _broken(shard, f"the shard cannot be read ({error})") from error
    for key, found in places.items():
        missing = [name for name in MEMBERS if name not in found]
        if missing:
            raise _broken(shard, f"patch {key} lacks {', '.join(missing)}")
    table = [[found[name] for name in MEMBERS] for found in places.values()]
    return np.array(table, np.int64).reshape(-1, len(MEMBERS), 2)


def _key_and_extension(member: tarfile.TarInfo, length: int, shard: Path) -> tuple[str, str]:
    """A member's two names; InputError unless it is a plain file that lies within the shard's `length` bytes."""
    shown = ascii(member.name)[1:-1]
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise _broken(shard, f"{shown} is no plain file")
    if not 0 <= member.size <= length - member.offset_data:
        raise _broken(shard, f"{shown} claims {member.size} bytes, more than the shard holds")
    key, _, extension = member.name.partition(".")
    if not key or not member.name.isprintable() or extension not in MEMBERS:
        raise _broken(shard, f"{shown} belongs to no patch")
    return key, extension


def _broken(shard: Path, problem: str) -> InputError:
    return InputError(problem, file=shard, remedy="Extract the patches again")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes()


def _decode_mask(data: bytes, shard: Path) -> NDArray[np.uint8]:
    """A mask of 0 and 255 as 0 and 1."""
    levels_HW = _decode(data, cv2.IMREAD_GRAYSCALE, shard)
    mask_HW = levels_HW // 255
    if (mask_HW * np.uint8(255) != levels_HW).any():
        raise _broken(shard, "a mask has other values than 0 and 255")
    return mask_HW


def _decode(data: bytes, flag: int, shard: Path) -> NDArray[np.uint8]:
    if not _is_plain_png(data):
        raise _broken(shard, "a patch is no whole PNG")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _broken(shard, "a patch cannot be decoded")
    return np.asarray(pixels, np.uint8)


def _is_plain_png(data: bytes) -> bool:
    """Whether a decoder can be trusted with it: one picture of a patch's size, in whole and undamaged chunks."""
    if not data.startswith(PNG_SIGNATURE):
        return False
    position, kinds = len(PNG_SIGNATURE), []
    while position < len(data):
        if len(data) - position < 12:
            return False
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if kind == b"IHDR" and not (length == 13 and _is_patch_size(*struct.unpack_from(">II", data, position + 8))):
            return False
        kinds.append(kind)
        position = end + 4
    return kinds[:1] == [b"IHDR"] and kinds[-1] == b"IEND" and b"acTL" not in kinds


def _is_patch_size(width: int, height: int) -> bool:
    return 0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE
