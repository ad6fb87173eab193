"""An instance to be refined, one look of a network at it, and what becomes of its mask.

Subject -> first_look -> Look -> (the network) -> next_look -> Look -> ... -> Refined
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli import patches
from bpr_cli.masks import Mask, crop_mask
from bpr_cli.network.config import ModelConfig
from bpr_cli.refining.gate import change_features, evidence, likely_right, needed_evidence
from bpr_cli.refining.neighbours import CERTAIN, Neighbour, neighbour_levels
from bpr_cli.refining.settings import RefineSettings

# How far from the coarse boundary a cautious refinement may change pixels: a share of the object's size, the square
# root of its area. What lies further out is mostly a neighbour, mistaken for a part of the object. That happens to
# objects of less than two patches across; larger ones need no such limit (chosen on training photos; models/LOG.md).
REACH = 0.08
REACH_BELOW = 128  # px
# An object of this size whose boundary has less than this share of other objects beside it (`crowding`) is refined by
# patches alone: they do as well there or better than with a look at the whole before them (models/LOG.md).
LARGE = 160  # px, the longer side of its box
ALONE = 0.1
NO_PHOTO = np.empty((0, 0, 3), np.uint8)
# Evidence is looked for in this many patches at most, evenly spread over the mask's: a large mask costs no more.
EVIDENCE_PATCHES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """An instance whose boundary is to be refined.

    Attributes:
        index: its position in the input.
        image_HWC: the photo, uint8 RGB; NO_PHOTO once no pass needs it.
        mask: the mask that the input has.
        crowding: share of its boundary that has other objects beside it, 0..1.
        neighbours: the other detections around it, for networks that see them.
        with_probabilities: whether the probabilities behind its refined mask are wanted too.
    """

    index: int
    image_HWC: NDArray[np.uint8]
    mask: Mask
    crowding: float = 0.0
    neighbours: tuple[Neighbour, ...] = ()
    with_probabilities: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a network is shown of a subject in one pass.

    Attributes:
        subject: whose boundary it is.
        number: of the pass, from 0.
        mask: the mask that this pass starts from: the subject's own in the first one.
        window: that mask around the patches.
        boxes: (N, 4) where the patches lie, x1 y1 x2 y2, without padding; N at least 1.
        images_NHWC: uint8 RGB patches, with padding.
        masks: what the network takes beside them: the coarse masks, for networks that see neighbours with these
            (`input_tensor.prepare`).
        patch_count: patches of all passes up to this one.
        probabilities: those that decided `mask`; None if they are not wanted, or if no pass decided it.
    """

    subject: Subject
    number: int
    mask: Mask
    window: patches.Window
    boxes: NDArray[np.int64]
    images_NHWC: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    patch_count: int
    probabilities: patches.Probabilities | None = None

    @property
    def mask_bytes(self) -> int:
        """What its masks and probabilities hold in memory."""
        masks = (self.mask.pixels_HW, self.window.pixels_HW, self.subject.mask.pixels_HW)
        return sum(pixels_HW.nbytes for pixels_HW in masks) + _bytes_of(self.probabilities)


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """A subject that no network will look at again; it holds no photo.

    Attributes:
        index: the subject's position in the input.
        coarse: the mask that the input has.
        mask: the mask after all passes.
        patch_count: patches of all passes.
        probabilities: those that decided `mask`; None if they are not wanted, or if no pass decided it.
        refused: the mask that the last look made, where the photo did not bear it out and the one before it stands.
        unused: the probabilities of that refused mask; None if they are not wanted.
    """

    index: int
    coarse: Mask
    mask: Mask
    patch_count: int
    probabilities: patches.Probabilities | None = None
    refused: Mask | None = None
    unused: patches.Probabilities | None = None

    @property
    def mask_bytes(self) -> int:
        """What its masks and probabilities hold in memory."""
        masks = (self.coarse, self.mask, self.refused)
        held = sum(mask.pixels_HW.nbytes for mask in masks if mask is not None)
        return held + _bytes_of(self.probabilities) + _bytes_of(self.unused)


def _bytes_of(probabilities: patches.Probabilities | None) -> int:
    return 0 if probabilities is None else probabilities.values_HW.nbytes + probabilities.seen_HW.nbytes


def first_look(subject: Subject, configs: Sequence[ModelConfig], settings: RefineSettings) -> Look | Refined:
    """What the network of the first pass is shown of a subject; `configs` say what that of each pass expects.

    A large object by itself needs no look at the whole before its patches: it starts with the pass after that.
    """
    skips_object = len(configs) > 1 and is_object_model(configs[0]) and _is_large_and_alone(subject)
    return _take_look(subject, int(skips_object), subject.mask, configs, settings, 0)


def next_look(
    look: Look, probabilities_NPP: NDArray[np.float32], configs: Sequence[ModelConfig], settings: RefineSettings
) -> Look | Refined:
    """Merge a network's answer: the next pass's look, or the refined mask after the last one.

    A pass over the whole object changes only pixels that are likely wrong (`gate.likely_right`); patches are looked at
    after it, unless the object was seen at full resolution. The first pass of patches decides
    for all that follow whether the photo bears the refinement out; if not, the mask before it stands.

    Args:
        look: what the network was shown.
        probabilities_NPP: its answer, float32 (N, P, P), foreground probability 0..1.
        configs: what the network of each pass expects.
        settings: where patches lie, blending, caution.
    """
    subject = look.subject
    merged, probabilities = _merge(look, probabilities_NPP, configs[look.number], settings)
    number = look.number + 1
    is_object = is_object_model(configs[look.number])
    is_first = look.number == 0 or is_object_model(configs[look.number - 1])
    mask = crop_mask(merged.pixels_HW, merged.x1, merged.y1, subject.mask.image_height, subject.mask.image_width)
    refused: Mask | None = None
    if is_object:
        if mask.pixels_HW.size == 0:
            mask, probabilities, refused = look.mask, look.probabilities, mask
        if _is_seen_in_full(look):
            number = len(configs)
    elif is_first and is_gated(settings) and not _is_borne_out(look, merged, settings):
        stands, decided = look.mask, look.probabilities
        return Refined(subject.index, subject.mask, stands, look.patch_count, decided, mask, probabilities)
    if number == len(configs):
        return Refined(subject.index, subject.mask, mask, look.patch_count, probabilities, refused)
    return _take_look(subject, number, mask, configs, settings, look.patch_count, probabilities)


def is_object_model(config: ModelConfig) -> bool:
    """Whether a network looks at whole objects, whatever the scheme of the patches."""
    return config.scheme == patches.OBJECT


def _scheme_of(config: ModelConfig, settings: RefineSettings) -> str:
    return patches.OBJECT if is_object_model(config) else settings.scheme


def _is_large_and_alone(subject: Subject) -> bool:
    x1, y1, x2, y2 = subject.mask.box_xyxy
    return max(x2 - x1, y2 - y1) >= LARGE and subject.crowding < ALONE


def is_gated(settings: RefineSettings) -> bool:
    """Whether refinements must be borne out by the photo."""
    # In the instance scheme's one patch the coarse boundary lies on the rim, where there is no telling.
    return settings.caution > 0 and settings.scheme != "instance"


def _take_look(
    subject: Subject,
    number: int,
    mask: Mask,
    configs: Sequence[ModelConfig],
    settings: RefineSettings,
    patch_count: int,
    probabilities: patches.Probabilities | None = None,
) -> Look | Refined:
    """Cut a mask's boundary into patches; a mask without boundary is done. The last pass lets go of the photo."""
    config = configs[number]
    scheme = _scheme_of(config, settings)
    boxes = patches.propose_boxes(mask, config.patch_size, settings.nms_threshold, scheme)
    if len(boxes) == 0:
        return Refined(subject.index, subject.mask, mask, patch_count, probabilities)
    window = patches.window_around(mask, boxes, config.padding)
    images_NHWC = patches.crop(subject.image_HWC, boxes, config.padding)
    masks = window.cut(boxes, config.padding)
    if config.sees_neighbours:
        levels = neighbour_levels(subject.neighbours, window).cut(boxes, config.padding)
        masks = np.stack((masks * np.uint8(CERTAIN), levels), axis=-1)
    if scheme in patches.WHOLE:
        images_NHWC, masks = _at_network_size(images_NHWC, masks, config)
    if number == len(configs) - 1:
        subject = replace(subject, image_HWC=NO_PHOTO)
    return Look(subject, number, mask, window, boxes, images_NHWC, masks, patch_count + len(boxes), probabilities)


def _at_network_size(
    images_NHWC: NDArray[np.uint8], masks: NDArray[np.uint8], config: ModelConfig
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Crops of whole objects, of any size, at the size that the network takes."""
    side = config.patch_size
    if not config.sees_neighbours:
        images_NHWC = patches.resize_patches(images_NHWC, side, side, cv2.INTER_LINEAR)
        return images_NHWC, patches.resize_patches(masks, side, side, cv2.INTER_NEAREST)
    interpolation = cv2.INTER_AREA if max(images_NHWC.shape[1:3]) > side else cv2.INTER_LINEAR
    images_NHWC = patches.resize_patches(images_NHWC, side, side, interpolation)
    return images_NHWC, patches.resize_patches(masks, side, side, interpolation)


def _merge(
    look: Look, probabilities_NPP: NDArray[np.float32], config: ModelConfig, settings: RefineSettings
) -> tuple[patches.Window, patches.Probabilities | None]:
    """The look's window with the network's answer put back, and the probabilities behind it if they are wanted."""
    weights = None
    scheme = _scheme_of(config, settings)
    if scheme in patches.WHOLE:
        ((x1, y1, x2, y2),) = look.boxes.tolist()
        probabilities_NPP = patches.resize_patches(probabilities_NPP, y2 - y1, x2 - x1, cv2.INTER_LINEAR)
        if scheme == patches.OBJECT and settings.caution > 0 and config.gate is not None:
            probabilities_NPP = _without_unlikely_changes(look, probabilities_NPP, config.gate, settings)
    elif settings.blend == "hann":
        weights = patches.hann_weights(probabilities_NPP.shape[-1])
    caution = patches.PLAIN if scheme == patches.OBJECT else _caution(look.mask, settings)
    merged = patches.merge_patches(look.window, look.boxes, probabilities_NPP, weights, caution)
    if not look.subject.with_probabilities:
        return merged, None
    how = (look.window, look.boxes, probabilities_NPP, weights, caution)
    return merged, patches.merged_probabilities(*how, merged)


def _caution(mask: Mask, settings: RefineSettings) -> patches.Caution:
    size = mask.area**0.5
    limited = settings.caution > 0 and size < REACH_BELOW
    return patches.Caution(settings.caution / 2, max(1, round(REACH * size)) if limited else None)


def object_changes(look: Look, probabilities_HW: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which pixels of a whole object's box would change, and what speaks for it: see `change_features`.

    Args:
        look: at a whole object.
        probabilities_HW: the network's answer at the box's size, float32.
    """
    levels = neighbour_levels(look.subject.neighbours, look.window)
    return change_features(look.window.cut(look.boxes)[0], levels.cut(look.boxes)[0], probabilities_HW)


def _without_unlikely_changes(
    look: Look, probabilities_1HW: NDArray[np.float32], gate: Sequence[float], settings: RefineSettings
) -> NDArray[np.float32]:
    """The answer at the box's size, with the mask's 0 or 1 where a change is not as likely right as caution asks."""
    coarse_HW = look.window.cut(look.boxes)[0]
    changed_HW, features = object_changes(look, probabilities_1HW[0])
    undone_HW = np.zeros_like(changed_HW)
    undone_HW[changed_HW] = likely_right(features, gate) < 0.5 + settings.caution / 2
    return np.where(undone_HW, coarse_HW.astype(np.float32), probabilities_1HW)


def _is_seen_in_full(look: Look) -> bool:
    """Whether a look at a whole object did not have to shrink it, so that patches would show nothing new."""
    x1, y1, x2, y2 = look.boxes[0].tolist()
    return max(x2 - x1, y2 - y1) <= look.images_NHWC.shape[1]


def _is_borne_out(look: Look, merged: patches.Window, settings: RefineSettings) -> bool:
    """Whether the photo shows enough evidence for a refinement, in some patches without their padding."""
    count = len(look.boxes)
    some = np.arange(EVIDENCE_PATCHES) * (count - 1) // (EVIDENCE_PATCHES - 1) if count > EVIDENCE_PATCHES else ...
    boxes = look.boxes[some]
    before_NHW, after_NHW = look.window.cut(boxes), merged.cut(boxes)
    padding = (look.images_NHWC.shape[1] - before_NHW.shape[1]) // 2
    inside = slice(padding, padding + before_NHW.shape[1])
    found = evidence(look.images_NHWC[some][:, inside, inside], before_NHW, after_NHW)
    return found >= needed_evidence(settings.caution, look.subject.crowding)
