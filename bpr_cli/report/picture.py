"""Before-and-after pictures of refined masks, made to be read at 1200 pixels' width.

Left the mask before refinement, right after it: the object with its outline, below it the places where the
two differ most, enlarged. Colours are RGB throughout; boxes are integer image pixels, x1 y1 x2 y2, the end
exclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bpr_cli.errors import InputError
from bpr_cli.evaluation.boundary import contour
from bpr_cli.files import replacing
from bpr_cli.masks import Mask, to_frame

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]

ZOOM = 4
WINDOW = 48  # image pixels on a side of an enlarged window
WINDOWS = 3
GAP = 8
EDGE = 4
TILE = ZOOM * WINDOW
HALF_WIDTH = WINDOWS * TILE + (WINDOWS - 1) * GAP
PHOTO_HEIGHT = 392
HEADER_HEIGHT = 40
LABEL_HEIGHT, LABEL_WIDTH = 20, 18

GROUND: Colour = (22, 23, 26)
TEXT: Colour = (200, 203, 208)
WHITE: Colour = (255, 255, 255)
BEFORE: Colour = (255, 74, 158)
AFTER: Colour = (38, 230, 160)
LINE = 2.5  # pixels of the picture
THIN_LINE = 1.0
SMOOTHING = 0.8  # image pixels; takes the stairs off an outline and moves it by less than one pixel
MARGIN = 0.12  # photo around the object, as a share of its size


@dataclass(frozen=True, slots=True)
class Comparison:
    """One instance to show.

    Attributes:
        image_HWC: HxWx3 uint8, RGB.
        before, after: its mask before and after refinement.
        truth: the true mask, drawn as a thin white line; None to leave it out.
        caption_before, caption_after: a few words for the header, such as "IoU 84.6   F 27.4".
    """

    image_HWC: NDArray[np.uint8]
    before: Mask
    after: Mask
    truth: Mask | None = None
    caption_before: str = ""
    caption_after: str = ""


def contact_sheet(comparisons: Sequence[Comparison], out: Path) -> None:
    """Write a picture of several instances, one below the other; it appears whole or not at all.

    Raises:
        InputError: the file ends neither in .png nor in .jpg or .jpeg.
        ValueError: masks and image differ in size, or there are no instances.
    """
    if not comparisons:
        raise ValueError("there is nothing to show")
    rows = [draw(comparison) for comparison in comparisons]
    write_picture(np.concatenate(rows), out)


def write_picture(picture_HWC: NDArray[np.uint8], out: Path) -> None:
    """Write an RGB picture as PNG or JPEG, whole or not at all; InputError for another file ending."""
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError("pictures are written as PNG or JPEG", file=out, remedy="Name it .png or .jpg")
    settings = [] if out.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 92]
    _, data = cv2.imencode(out.suffix.lower(), cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR), settings)
    with replacing(out) as temporary:
        temporary.write_bytes(data.tobytes())


def draw(comparison: Comparison) -> NDArray[np.uint8]:
    """The picture of one instance: Hx1200x3 uint8, RGB. Where nothing differs it has no enlarged windows."""
    size = comparison.image_HWC.shape[:2]
    for mask in (comparison.before, comparison.after, comparison.truth):
        if mask is not None and (mask.image_height, mask.image_width) != size:
            raise ValueError(f"mask of a {mask.image_height}x{mask.image_width} image on one of {size}")
    windows = differing_windows(comparison.before, comparison.after)
    halves = [
        _half(comparison, mask, colour, name, caption, windows)
        for mask, colour, name, caption in (
            (comparison.before, BEFORE, "before", comparison.caption_before),
            (comparison.after, AFTER, "after", comparison.caption_after),
        )
    ]
    height = halves[0].shape[0]
    picture_HWC = _canvas(height + 2 * EDGE, 2 * HALF_WIDTH + GAP + 2 * EDGE)
    for number, half_HWC in enumerate(halves):
        left = EDGE + number * (HALF_WIDTH + GAP)
        picture_HWC[EDGE : EDGE + height, left : left + HALF_WIDTH] = half_HWC
    return picture_HWC


def differing_windows(before: Mask, after: Mask, size: int = WINDOW, count: int = WINDOWS) -> list[Box]:
    """The square windows of an image in which two outlines differ most, the best first.

    Differing pixels count near an outline, twice near both (amid a large lost part there is nothing to see),
    and more in a window's middle than at its edge. Windows keep half a side's distance from each other.

    Args:
        size: side of a window in pixels; smaller where the image is.
        count: how many at most. Fewer where there are no more differences.
    """
    height, width = before.image_height, before.image_width
    side = min(size, height, width)
    different_HW = to_frame(before) ^ to_frame(after)
    reach = np.ones((side // 4 + 1, side // 4 + 1), np.uint8)
    weights_HW = np.zeros((height, width), np.float32)
    for mask in (before, after):
        weights_HW += different_HW & np.asarray(cv2.dilate(to_frame(contour(mask)), reach), np.uint8)
    kernel = (side // 2 * 2 + 1, side // 2 * 2 + 1)
    centred_HW = cv2.GaussianBlur(weights_HW, kernel, side / 5, borderType=cv2.BORDER_CONSTANT)
    # values_HW[y, x] belongs to the window whose top left pixel is (x, y); all of these lie in the image.
    half = side // 2
    values_HW = np.array(centred_HW[half : height - side + half + 1, half : width - side + half + 1])
    windows: list[Box] = []
    while len(windows) < count and values_HW.max() > 0:
        y, x = (int(value) for value in np.unravel_index(values_HW.argmax(), values_HW.shape))
        windows.append((x, y, x + side, y + side))
        spacing = 3 * side // 2
        values_HW[max(0, y - spacing + 1) : y + spacing, max(0, x - spacing + 1) : x + spacing] = 0
    return windows


def _half(
    comparison: Comparison, mask: Mask, colour: Colour, name: str, caption: str, windows: Sequence[Box]
) -> NDArray[np.uint8]:
    """Header, photo and enlarged windows of one side: HxHALF_WIDTHx3."""
    tiles_height = GAP + TILE if windows else 0
    half_HWC = _canvas(HEADER_HEIGHT + PHOTO_HEIGHT + tiles_height, HALF_WIDTH)
    view = _View(_photo_box(comparison), HALF_WIDTH, PHOTO_HEIGHT)
    photo_HWC = view.photo(comparison.image_HWC)
    view.outline(photo_HWC, mask, colour, comparison.truth)
    for number, window in enumerate(windows, start=1):
        view.frame(photo_HWC, window, str(number))
    top, left = HEADER_HEIGHT + (PHOTO_HEIGHT - view.height) // 2, (HALF_WIDTH - view.width) // 2
    half_HWC[top : top + view.height, left : left + view.width] = photo_HWC
    for number, window in enumerate(windows):
        tile = _View(window, TILE, TILE)
        tile_HWC = tile.photo(comparison.image_HWC)
        tile.outline(tile_HWC, mask, colour, comparison.truth)
        _label(tile_HWC, str(number + 1), 0, 0)
        left = number * (TILE + GAP)
        half_HWC[-TILE:, left : left + TILE] = tile_HWC
        cv2.rectangle(half_HWC, (left, half_HWC.shape[0] - TILE), (left + TILE - 1, half_HWC.shape[0] - 1), WHITE, 1)
    _header(half_HWC, name, colour, caption, comparison.truth is not None)
    return half_HWC


class _View:
    """A box of the image shown enlarged or reduced.

    Args:
        box_xyxy: which part of the image.
        max_width, max_height: the room for it; the photo's proportions are kept.
    """

    def __init__(self, box_xyxy: Box, max_width: int, max_height: int) -> None:
        self.box_xyxy = box_xyxy
        x1, y1, x2, y2 = box_xyxy
        self.scale = min(max_width / (x2 - x1), max_height / (y2 - y1))
        self.width = round(self.scale * (x2 - x1))
        self.height = round(self.scale * (y2 - y1))

    def photo(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x1, y1, x2, y2 = self.box_xyxy
        interpolation = cv2.INTER_CUBIC if self.scale > 1 else cv2.INTER_AREA
        shown = cv2.resize(image_HWC[y1:y2, x1:x2], (self.width, self.height), interpolation=interpolation)
        return np.asarray(shown, np.uint8)

    def outline(self, photo_HWC: NDArray[np.uint8], mask: Mask, colour: Colour, truth: Mask | None) -> None:
        """Draw the true outline thin and white, the mask's over it in colour with a dark rim."""
        lines = self._lines(mask)
        _stroke(photo_HWC, lines, (0, 0, 0), LINE + 2, strength=0.4)
        if truth is not None:
            _stroke(photo_HWC, self._lines(truth), WHITE, THIN_LINE)
        _stroke(photo_HWC, lines, colour, LINE)

    def frame(self, photo_HWC: NDArray[np.uint8], window: Box, text: str) -> None:
        """Draw where an enlarged window lies in the photo."""
        left, top = (round(self.scale * (window[i] - self.box_xyxy[i])) for i in (0, 1))
        right, bottom = (round(self.scale * (window[i + 2] - self.box_xyxy[i])) - 1 for i in (0, 1))
        cv2.rectangle(photo_HWC, (left, top), (right, bottom), WHITE, 1)
        # Above the frame where there is room, so that it hides nothing of what the frame shows.
        _label(photo_HWC, text, max(0, left), top - LABEL_HEIGHT if top >= LABEL_HEIGHT else max(0, top))

    def _lines(self, mask: Mask) -> list[NDArray[np.int32]]:
        """The mask's outline in the view, as closed lines of points in 1/16 pixels."""
        x1, y1, x2, y2 = self.box_xyxy
        # Two pixels more on each side put the line along a cut out of sight. The image border is no outline.
        frame_HW = np.pad(to_frame(mask), 2, mode="edge")[y1 : y2 + 4, x1 : x2 + 4]
        fine = max(1, round(8 / self.scale))
        scale = self.scale * fine
        field_HW = cv2.GaussianBlur(frame_HW.astype(np.float32), (0, 0), SMOOTHING)
        field_HW = cv2.resize(field_HW, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        found, _ = cv2.findContours((field_HW > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        return [np.round(16 * ((line + 0.5) / fine - 0.5 - 2 * self.scale)).astype(np.int32) for line in found]


def _stroke(
    photo_HWC: NDArray[np.uint8],
    lines: list[NDArray[np.int32]],
    colour: Colour,
    width: float,
    strength: float = 1.0,
) -> None:
    """Draw closed lines, smooth at the edges.

    Args:
        lines: points x, y in 1/16 pixels.
        width: in pixels.
        strength: opacity, 0..1.
    """
    height, length = photo_HWC.shape[:2]
    # Four times as large, then averaged: OpenCV's own anti-aliasing knows whole widths only, drawn fat.
    cover_HW = np.zeros((4 * height, 4 * length), np.uint8)
    fine = [4 * line + 24 for line in lines]  # pixel centres: 4 (x + 0.5) - 0.5
    cv2.polylines(cover_HW, fine, True, 255, round(4 * width), cv2.LINE_8, shift=4)
    cover_HW = cv2.resize(cover_HW, (length, height), interpolation=cv2.INTER_AREA)
    alpha_HW1 = (cover_HW * (strength / 255))[:, :, None]
    photo_HWC[:] = np.round(photo_HWC * (1 - alpha_HW1) + np.array(colour) * alpha_HW1)


def _photo_box(comparison: Comparison) -> Box:
    """The part of the image to show: the object with a margin, widened to the room there is."""
    height, width = comparison.image_HWC.shape[:2]
    boxes = [
        mask.box_xyxy
        for mask in (comparison.before, comparison.after, comparison.truth)
        if mask is not None and mask.pixels_HW.size
    ]
    if not boxes:
        return 0, 0, width, height
    x1, y1 = (min(box[i] for box in boxes) for i in (0, 1))
    x2, y2 = (max(box[i] for box in boxes) for i in (2, 3))
    margin = max(WINDOW // 2, round(MARGIN * max(x2 - x1, y2 - y1)))
    wanted_width, wanted_height = min(width, x2 - x1 + 2 * margin), min(height, y2 - y1 + 2 * margin)
    wanted_width = max(wanted_width, round(wanted_height * HALF_WIDTH / PHOTO_HEIGHT))
    wanted_height = max(wanted_height, round(wanted_width * PHOTO_HEIGHT / HALF_WIDTH))
    left, right = _inside((x1 + x2) // 2, wanted_width, width)
    top, bottom = _inside((y1 + y2) // 2, wanted_height, height)
    return left, top, right, bottom


def _inside(centre: int, length: int, limit: int) -> tuple[int, int]:
    """A stretch of `length` pixels around `centre`, moved into 0..limit; all of it if it is longer."""
    length = min(length, limit)
    start = min(max(0, centre - length // 2), limit - length)
    return start, start + length


def _header(half_HWC: NDArray[np.uint8], name: str, colour: Colour, caption: str, has_truth: bool) -> None:
    picture = Image.fromarray(half_HWC[:HEADER_HEIGHT])
    pen = ImageDraw.Draw(picture)
    middle = HEADER_HEIGHT // 2 - 2
    bold, plain = ImageFont.load_default(24), ImageFont.load_default(19)
    pen.text((2, middle), name, fill=colour, font=bold, anchor="lm")
    pen.text((18 + pen.textlength(name, font=bold), middle + 2), caption, fill=TEXT, font=plain, anchor="lm")
    if has_truth:
        pen.text((HALF_WIDTH - 2, middle + 2), "ground truth", fill=TEXT, font=plain, anchor="rm")
        end = HALF_WIDTH - 12 - int(pen.textlength("ground truth", font=plain))
        pen.line((end - 26, middle + 2, end, middle + 2), fill=WHITE, width=1)
    half_HWC[:HEADER_HEIGHT] = np.asarray(picture)


def _label(photo_HWC: NDArray[np.uint8], text: str, x: int, y: int) -> None:
    """Write a number on a dark ground with its top left corner at (x, y), as far as there is room."""
    tag = Image.new("RGB", (LABEL_WIDTH, LABEL_HEIGHT), GROUND)
    middle = (LABEL_WIDTH // 2, LABEL_HEIGHT // 2)
    ImageDraw.Draw(tag).text(middle, text, fill=WHITE, font=ImageFont.load_default(15), anchor="mm")
    label_HWC = photo_HWC[y : y + LABEL_HEIGHT, x : x + LABEL_WIDTH]
    label_HWC[:] = np.asarray(tag)[: label_HWC.shape[0], : label_HWC.shape[1]]


def _canvas(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GROUND, np.uint8)
