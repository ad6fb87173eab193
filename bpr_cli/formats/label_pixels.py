"""Images whose pixels are numbers of objects, classes or segments; a mask is the pixels of one number."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.files import replacing
from bpr_cli.formats.image_files import BROKEN, check_pixels, damage, header_of, open_image, read_bytes
from bpr_cli.formats.mask_pixels import levels_of
from bpr_cli.limits import MAX_PIXELS

# Where the number of a pixel comes from: its index or grey level; red + 256 green + 65536 blue; or a count of the
# connected parts of each index (`_parts`).
Coding = Literal["index", "rgb", "parts"]
VOID = 255  # an index of 8 bits that means "do not count these pixels", in VOC, Cityscapes and most others
# Connected parts of a class with fewer pixels are one mask together: half a patch across, and often noise.
SMALL_PART = 32 * 32
INDEXED = {"P", "L", "I;16", "I;16B", "I"}
MOST_CACHED = 256 << 20  # bytes of maps that wait for further masks of theirs
REPLACE = "Copy or write the file again"


@dataclass(frozen=True, slots=True)
class LabelPixels:
    """A segmentation: the pixels of one number in a map, decoded when it is asked for.

    Attributes:
        path: PNG.
        number: of the pixels.
        coding: of the map.
    """

    path: Path
    number: int
    coding: Coding = "index"

    def read(self) -> NDArray[np.bool_]:
        """(H, W) bool; InputError as in `read_labels`."""
        return np.asarray(read_labels(self.path, self.coding) == self.number)


def read_labels(path: Path, coding: Coding = "index", max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """The numbers of a map's pixels; read-only. Maps are kept for a while, so that many masks of one cost one decoding.

    Args:
        path: PNG: palette or grey of up to 16 bits for an index, 8-bit RGB for ids (alpha is ignored).
        coding: where the numbers come from.
        max_pixels: larger ones are refused.

    Returns:
        (H, W) of an unsigned type, or int32.

    Raises:
        InputError: it cannot be read, or is of another kind.
    """
    return _cache.get(path, coding, max_pixels)


def write_labels(original: Path, labels_HW: NDArray[Any], out: Path) -> None:
    """Write numbers as PNG of the original's mode, bits and palette; the file appears whole or not at all.

    Args:
        original: a map that `read_labels` reads by index.
        labels_HW: as it returns them, with other numbers of the same range.
        out: where to.
    """
    with open_image(original) as image:
        made = Image.fromarray(labels_HW)
        options = {}
        if image.mode == "P":
            made.putpalette(image.getpalette("RGB") or [], "RGB")
            options = {key: image.info[key] for key in ("transparency",) if key in image.info}
    _save(made, out, options)


def write_ids(ids_HW: NDArray[np.int32], out: Path) -> None:
    """Write numbers as red + 256 green + 65536 blue: 8-bit RGB PNG."""
    channels = [(ids_HW >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)]
    _save(Image.fromarray(np.stack(channels, axis=-1)), out, {})


def _save(image: Image.Image, out: Path, options: dict[str, Any]) -> None:
    with replacing(out) as temporary, temporary.open("wb") as stream:
        image.save(stream, "PNG", **options)


def _parts(labels_HW: NDArray[Any]) -> NDArray[np.int32]:
    """Counts the parts of a map: 1 and up, class by class; 0 for VOID.

    A part is connected (8 neighbours) and of SMALL_PART pixels or more; all smaller ones of a class are one.
    """
    parts_HW = np.zeros(labels_HW.shape, np.int32)
    count = 0
    for number in levels_of(labels_HW).tolist():
        if number == VOID and labels_HW.dtype == np.uint8:
            continue
        found, components_HW, statistics, _ = cv2.connectedComponentsWithStats((labels_HW == number).view(np.uint8))
        is_large = statistics[:, cv2.CC_STAT_AREA] >= SMALL_PART
        is_large[0] = False  # all that is not of the class
        part_of = np.zeros(found, np.int32)
        part_of[is_large] = np.arange(count + 1, count + 1 + np.count_nonzero(is_large))
        count += int(np.count_nonzero(is_large))
        if not is_large[1:].all():
            count += 1
            part_of[1:][~is_large[1:]] = count
        parts_HW += part_of[components_HW]
    return parts_HW


def _decode(path: Path, coding: Coding, max_pixels: int) -> NDArray[Any]:
    labels_HW: NDArray[Any]
    if coding == "parts":
        labels_HW = _parts(_decode(path, "index", max_pixels))
        labels_HW.flags.writeable = False
        return labels_HW
    data = read_bytes(path)
    if (problem := damage(data)) is not None:
        raise InputError(f"the map cannot be read ({problem})", file=path, remedy=REPLACE)
    try:
        with open_image(io.BytesIO(data)) as image:
            header = header_of(image)
            check_pixels(header.height, header.width, max_pixels, path)
            if coding == "rgb":
                if image.mode not in ("RGB", "RGBA"):
                    raise InputError(
                        f"the map is of the mode {image.mode}, not RGB ids", file=path, remedy="Write panoptic PNGs"
                    )
                channels_HWC = np.asarray(image.convert("RGB")).astype(np.int32)
                labels_HW = channels_HWC @ np.array([1, 256, 65536], np.int32)
            elif image.mode in INDEXED and image.format == "PNG":
                labels_HW = np.array(image)
            else:
                raise InputError(
                    f"the map is {image.format} of the mode {image.mode}, not an index",
                    file=path,
                    remedy="Write a PNG with a palette, or of grey levels",
                )
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"the map cannot be read ({error})", file=path, remedy=REPLACE) from error
    labels_HW.flags.writeable = False
    return labels_HW


class _Cache:
    """The maps read last, in all threads, up to a number of bytes; the newest is kept whatever it weighs."""

    def __init__(self) -> None:
        self._maps: OrderedDict[tuple[object, ...], NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, coding: Coding, max_pixels: int) -> NDArray[Any]:
        try:
            state = path.stat()
        except OSError as error:
            raise InputError(
                f"the map cannot be read ({error.strerror})", file=path, remedy="Check the path"
            ) from error
        key = (path, coding, state.st_mtime_ns, state.st_size, state.st_ino)
        with self._lock:
            if key in self._maps:
                self._maps.move_to_end(key)
                return self._maps[key]
        labels_HW = _decode(path, coding, max_pixels)
        with self._lock:
            self._maps[key] = labels_HW
            while len(self._maps) > 1 and sum(kept.nbytes for kept in self._maps.values()) > MOST_CACHED:
                self._maps.popitem(last=False)
        return labels_HW


_cache = _Cache()
