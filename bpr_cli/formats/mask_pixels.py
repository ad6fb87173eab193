"""What in a mask image is object: soft masks, palettes, transparency, colours; and images that hold several objects."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats.image_files import BROKEN, damage, header_of, open_image, read_bytes
from bpr_cli.notices import warn_of_input

# An alpha channel that is transparent in a smaller share of the pixels says nothing of the object (rounded corners).
LEAST_TRANSPARENT = 0.01
LOSSY = {"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000"}  # formats whose compression makes ripples around a mask
LOSSY_STEP = 32  # levels that differ by less may be one and the same
LOSSY_REACH = 9  # px, how wide a window must be all object for its middle to be free of a border's colours
MOST_LABELS = 64  # levels of grey, or colours: hardly one for each object
LEVELS = 5  # of a soft mask whose levels lie in bands, at least: fewer may be a trimap
RAMP_STEP = 1.5  # levels from one band of such a mask to the next, on average
EDGE = 1 / 8  # of a soft mask's range, at either end: wide areas there are nearly background or nearly object
SPLIT = "Write an image for each object, 0 and 255; a soft mask must be cut first"
PROBABILITIES = "Write probabilities from 0 to 1, or 0 and 255"
NAMED = 5  # values named in an error
SOFT = "a soft mask; what is above half of its range was taken for the object"


class MaskImageError(Exception):
    """What is wrong with a mask image, and what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def read_foreground(path: Path, height: int, width: int) -> NDArray[np.bool_]:
    """The object's pixels in a mask image.

    Transparent pixels are background, the darkest value or the palette's background too. A soft mask (grey levels, or
    probabilities) is cut at half of its range, with an `InputWarning`.

    Args:
        path: the file.
        height, width: the size that it must have; nothing is decoded if it has another.

    Returns:
        (height, width) bool.

    Raises:
        MaskImageError: it cannot be read, has another size, or shows several objects or no mask at all.
    """
    try:
        data = read_bytes(path)
    except InputError as error:
        raise MaskImageError(f"the mask image {path.name} cannot be read", "Check the path") from error
    if (problem := damage(data)) is not None:
        raise MaskImageError(f"the mask image {path.name} cannot be read ({problem})", "Write it again as PNG")
    try:
        with open_image(io.BytesIO(data)) as image:
            header = header_of(image)
            if (header.height, header.width) != (height, width):
                raise MaskImageError(
                    f"the mask image {path.name} is {header.width}x{header.height}, the photo {width}x{height}",
                    "Give a mask of the photo's size",
                )
            if (pages := getattr(image, "n_frames", 1)) > 1 and image.format in ("TIFF", "GIF"):
                raise MaskImageError(f"the mask image {path.name} holds {pages} pages", SPLIT)
            image.load()
            foreground_HW, is_soft = _foreground(image)
    except BROKEN as error:
        raise MaskImageError(f"the mask image {path.name} cannot be read ({error})", "Write it again as PNG") from error
    except _NoMaskError as error:
        raise MaskImageError(f"the mask image {path.name} {error}", error.remedy) from None
    if is_soft:
        warn_of_input(SOFT, path)
    return foreground_HW


class _NoMaskError(Exception):
    """What an image shows instead of one mask."""

    def __init__(self, problem: str, remedy: str = SPLIT) -> None:
        super().__init__(problem)
        self.remedy = remedy


def _foreground(image: Image.Image) -> tuple[NDArray[np.bool_], bool]:
    """(H, W) bool, and whether a soft mask was cut."""
    opaque_HW, is_soft = _opaque(image)
    if opaque_HW is not None and np.count_nonzero(~opaque_HW) >= LEAST_TRANSPARENT * opaque_HW.size:
        _refuse_several(image, opaque_HW)
        return opaque_HW, is_soft
    foreground_HW, is_soft = _colour_foreground(image)
    # A few transparent pixels make no mask, but are not object either.
    return (foreground_HW if opaque_HW is None else foreground_HW & opaque_HW), is_soft


def _opaque(image: Image.Image) -> tuple[NDArray[np.bool_] | None, bool]:
    """(H, W) bool and whether alpha is soft; None for an image without transparency, or with the same everywhere."""
    key = image.info.get("transparency")
    if image.mode.startswith("I") and isinstance(key, int):
        alpha_HW = np.where(np.asarray(image) == key, 0, 255).astype(np.uint8)
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (key is not None and image.mode in ("1", "L", "P", "RGB")):
        alpha_HW = np.asarray(image.convert("RGBA").getchannel("A"))
    else:
        return None, False
    levels = levels_of(alpha_HW)
    if len(levels) == 1:
        return None, False
    return alpha_HW > 127 if levels[-1] > 127 else alpha_HW > 0, len(levels) > 2


def _refuse_several(image: Image.Image, opaque_HW: NDArray[np.bool_]) -> None:
    """A cut-out of a photo has many colours and a silhouette one; areas of a few colours are an object each."""
    if image.mode == "P" or image.mode.startswith("I"):
        colours_HW = np.asarray(image)
    else:
        colours_HW = _packed(np.asarray(image.convert("RGBA")))
    found, counts = np.unique(colours_HW[opaque_HW], return_counts=True)
    others_HW = opaque_HW & (colours_HW != found[counts.argmax()])
    if 1 < len(found) <= MOST_LABELS and is_flat(colours_HW, others_HW):
        raise _NoMaskError(f"has {len(found)} colours where it is not transparent, an object each it seems")


def _colour_foreground(image: Image.Image) -> tuple[NDArray[np.bool_], bool]:
    """(H, W) bool by the colours alone, and whether a soft mask was cut."""
    is_lossy = image.format in LOSSY
    if image.mode == "1":
        return np.asarray(image.convert("L")) > 0, False
    if image.mode == "P" and (found_HW := _palette_foreground(image)) is not None:
        return found_HW, False
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return _grey_foreground(np.asarray(image), is_lossy)
    return _rgb_foreground(np.asarray(image.convert("RGB")), is_lossy)


def _palette_foreground(image: Image.Image) -> NDArray[np.bool_] | None:
    """Index 0 is background, as in DAVIS and VOC, unless it has a colour and another one is black.

    None for a palette of greys, whose indices mean nothing.
    """
    indices_HW = np.asarray(image)
    colours = np.reshape(image.getpalette("RGB") or [0, 0, 0], (-1, 3))
    used = levels_of(indices_HW)
    black = np.flatnonzero(~colours.any(axis=1))
    background = black if black.size and colours[0].any() else np.zeros(1, np.intp)
    objects = np.setdiff1d(used, background)
    if len(objects) > 1:
        if not np.ptp(colours[used[used < len(colours)]], axis=1).any():
            return None
        raise _NoMaskError(f"holds {_listed(objects)} beside the background, an object each it seems")
    return ~np.isin(indices_HW, background)


def _rgb_foreground(pixels_HWC: NDArray[np.uint8], is_lossy: bool) -> tuple[NDArray[np.bool_], bool]:
    """A grey image in three channels, or one colour on black."""
    value_HW = pixels_HWC.max(axis=2)
    if np.ptp(pixels_HWC, axis=2).max() <= (LOSSY_STEP if is_lossy else 0):
        return _grey_foreground(value_HW, is_lossy)
    seen_HW = value_HW > (127 if is_lossy else 0)
    if is_lossy:
        inner_HW = cv2.erode(seen_HW.view(np.uint8), np.ones((LOSSY_REACH, LOSSY_REACH), np.uint8)).view(np.bool_)
        seen_HW = inner_HW if inner_HW.any() else seen_HW
    seen_N3 = _unpacked(np.unique(_packed(pixels_HWC)[seen_HW]))
    if len(seen_N3):
        brightest_3 = seen_N3[seen_N3.sum(axis=1).argmax()]
        off = np.abs(seen_N3 * brightest_3.max() - seen_N3.max(axis=1, keepdims=True) * brightest_3)
        if off.max() > (LOSSY_STEP if is_lossy else 2) * brightest_3.max():
            raise _NoMaskError("has several colours beside the background (black), an object each it seems")
    if is_lossy:
        return _grey_foreground(value_HW, is_lossy)
    # One colour, perhaps softly drawn: its brightest stands for the whole.
    return _grey_foreground((value_HW.astype(np.int64) * 255 // int(value_HW.max())).astype(np.uint8), is_lossy)


def _grey_foreground(values_HW: NDArray[Any], is_lossy: bool) -> tuple[NDArray[np.bool_], bool]:
    """0 is background and one other value object; more are a soft mask, or several objects, by where they lie."""
    values_HW, full = _ranged(values_HW)
    levels = levels_of(values_HW)
    top = levels[-1]
    if len(levels) == 1 or (len(levels) == 2 and levels[0] == 0 and not (is_lossy and top < full / 2)):
        return values_HW > 0, False
    if top <= full / 2 and full > 1:
        raise _NoMaskError(
            f"holds {_listed(levels[levels > 0])}: objects it seems, or a soft mask of less than its range"
        )
    if levels[0] > 0 and len(levels) <= MOST_LABELS and not is_lossy:
        raise _NoMaskError(f"holds {_listed(levels)}, and no 0 for the background", "Write 0 and 255")
    if is_lossy or len(levels) > MOST_LABELS:
        between_HW = (values_HW > EDGE * full) & (values_HW < (1 - EDGE) * full)
    else:
        between_HW = (values_HW > 0) & (values_HW < top)
    quantised_HW = values_HW // LOSSY_STEP if is_lossy else values_HW
    if is_flat(quantised_HW, between_HW) and not (len(levels) >= LEVELS and _is_ramp(values_HW, levels, between_HW)):
        raise _NoMaskError(f"holds {_listed(levels[levels > 0])}, an object each it seems")
    return values_HW > full / 2, not is_lossy


def _ranged(values_HW: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Grey values as they are, integers where they all are, with the end of the range that they belong to."""
    if values_HW.dtype.kind == "f":
        if not np.isfinite(values_HW).all():
            raise _NoMaskError("has values that are not finite", PROBABILITIES)
        if values_HW.min() < 0 or values_HW.max() > 2**31:
            raise _NoMaskError(f"has values from {values_HW.min():g} to {values_HW.max():g}", PROBABILITIES)
        if (values_HW != np.floor(values_HW)).any():
            if values_HW.max() > 255:
                raise _NoMaskError(f"has fractions up to {values_HW.max():g}", PROBABILITIES)
            return values_HW, 1.0 if values_HW.max() <= 1 else 255.0
        values_HW = values_HW.astype(np.int64)
    elif values_HW.dtype.kind == "i" and values_HW.min() < 0:
        raise _NoMaskError("has values below 0", PROBABILITIES)
    values_HW = values_HW.astype(values_HW.dtype.newbyteorder("="), copy=False)
    return values_HW, float(2 ** max(8, int(values_HW.max()).bit_length()) - 1)


def _packed(pixels_HWC: NDArray[np.uint8]) -> NDArray[Any]:
    """(H, W) uint32: red, green and blue in one number."""
    red_HW, green_HW, blue_HW = (pixels_HWC[..., channel].astype(np.uint32) for channel in range(3))
    return red_HW << 16 | green_HW << 8 | blue_HW


def _unpacked(colours_N: NDArray[Any]) -> NDArray[np.int64]:
    """(N, 3)."""
    return np.stack([colours_N >> 16, colours_N >> 8 & 255, colours_N & 255], axis=1).astype(np.int64)


def levels_of(values_HW: NDArray[Any]) -> NDArray[Any]:
    """The values that occur, ascending."""
    if values_HW.dtype in (np.uint8, np.uint16):
        bins = 1 << 8 * values_HW.dtype.itemsize
        return np.flatnonzero(cv2.calcHist([values_HW], [0], None, [bins], [0, bins]))
    return np.unique(values_HW)


def is_flat(values_HW: NDArray[Any], where_HW: NDArray[np.bool_]) -> bool:
    """Whether most of these pixels lie in areas of one value: a neighbour beside and one above or below are alike.

    In a soft mask they do not, even along a straight border.
    """
    if not where_HW.any():
        return False
    beside_HW, above_HW = np.zeros_like(where_HW), np.zeros_like(where_HW)
    is_equal = values_HW[:, 1:] == values_HW[:, :-1]
    beside_HW[:, 1:] |= is_equal
    beside_HW[:, :-1] |= is_equal
    is_equal = values_HW[1:] == values_HW[:-1]
    above_HW[1:] |= is_equal
    above_HW[:-1] |= is_equal
    return bool((beside_HW & above_HW)[where_HW].mean() > 0.5)


def _is_ramp(values_HW: NDArray[Any], levels: NDArray[Any], where_HW: NDArray[np.bool_]) -> bool:
    """Whether these pixels lie between the next lower level and the next higher one, as a wide soft border does.

    An object lies on the background, or among others, at whatever level these have.
    """
    ranks_HW = np.searchsorted(levels, values_HW)
    up = down = distance = 0
    for near_part, far_part in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        for first, second in ((near_part, far_part), (far_part, near_part)):
            steps = (ranks_HW[second] - ranks_HW[first])[where_HW[first]]
            up += np.count_nonzero(steps > 0)
            down += np.count_nonzero(steps < 0)
            distance += int(np.abs(steps).sum())
    return min(up, down) > max(up, down) / 2 and distance <= RAMP_STEP * (up + down)


def _listed(values: NDArray[Any]) -> str:
    some = ", ".join(f"{value:g}" for value in values[:NAMED].tolist())
    return f"{len(values)} values ({some}{', ...' if len(values) > NAMED else ''})"
