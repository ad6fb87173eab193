"""One instance on its way through the network: its patches before, its mask after."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli import patches
from bpr_cli.masks import Mask, crop_mask
from bpr_cli.network.checkpoint import ModelConfig
from bpr_cli.refining.gate import evidence
from bpr_cli.refining.settings import RefineSettings

# How far from the coarse boundary a cautious refinement may change pixels: a share of the object's size, the square
# root of its area. What lies further out is mostly a neighbour, mistaken for a part of the object. That happens to
# objects of less than two patches across; larger ones need no such limit (chosen on training photos; models/LOG.md).
REACH = 0.08
REACH_BELOW = 128  # px
# The evidence (`gate.evidence`, px) without which a mask is returned as it came, at a caution of 1; and how much more
# of it crowding (`crowding.crowding`, 0..1) asks for: times 1 + CROWDED x crowding. Chosen on training photos: at a
# caution of 0.4, 1 to 3 % of COCO's masks get worse instead of a third, and nearly all of DAVIS' refinements stay
# (models/LOG.md).
EVIDENCE = 1.5
CROWDED = 10.0
# Looked for in this many patches at most, evenly spread over the mask's, so that a large mask costs no more.
EVIDENCE_PATCHES = 16
MOST_WAITING = 4  # jobs held for each place of a batch; each holds a mask at least
# Photos and masks that jobs hold while they wait for a batch to fill. 512 MiB are 7 photos of 24 million pixels, and
# more of usual sizes than a batch of 256 patches spans, so that those batches stay full.
MOST_BYTES_WAITING = 512 << 20

NO_PHOTO = np.empty((0, 0, 3), np.uint8)

T = TypeVar("T")
Predict = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """An instance whose boundary is to be refined.

    Attributes:
        index: its position in the input.
        image_HWC: the photo, uint8 RGB; empty if no later pass needs it.
        mask: the coarse mask.
        boxes: (N, 4) where its patches lie, x1 y1 x2 y2, without padding.
        images_NHWC, masks_NHW: uint8 RGB patches and coarse masks (0 or 1), with padding.
        window: the coarse mask around its patches; None without patches.
        crowding: share of its boundary that has other objects beside it, 0..1.
        first_mask: in a later pass, whose coarse mask is the one refined before, the first pass's coarse mask.
        patch_count: patches of all passes up to this one.
    """

    index: int
    image_HWC: NDArray[np.uint8]
    mask: Mask
    boxes: NDArray[np.int64]
    images_NHWC: NDArray[np.uint8]
    masks_NHW: NDArray[np.uint8]
    window: patches.Window | None
    crowding: float = 0.0
    first_mask: Mask | None = None
    patch_count: int = 0

    @property
    def came_in(self) -> Mask:
        """The mask as it was before any pass."""
        return self.mask if self.first_mask is None else self.first_mask

    @property
    def mask_bytes(self) -> int:
        """What its masks hold in memory, whatever they are shared with."""
        window = 0 if self.window is None else self.window.pixels_HW.nbytes
        first = 0 if self.first_mask is None else self.first_mask.pixels_HW.nbytes
        return self.mask.pixels_HW.nbytes + window + first

    def without_photo(self) -> Job:
        """The same, for a pass that is its last: many may wait while others fill a batch."""
        return replace(self, image_HWC=NO_PHOTO)


def prepare_job(
    index: int,
    image_HWC: NDArray[np.uint8],
    mask: Mask,
    config: ModelConfig,
    settings: RefineSettings,
    crowding: float = 0.0,
) -> Job:
    """Cut an instance's boundary into patches."""
    boxes = patches.propose_boxes_in(mask, config.patch_size, settings.nms_threshold, settings.scheme)
    return cut_job(index, image_HWC, mask, boxes, config, settings, crowding)


def cut_job(
    index: int,
    image_HWC: NDArray[np.uint8],
    mask: Mask,
    boxes: NDArray[np.int64],
    config: ModelConfig,
    settings: RefineSettings,
    crowding: float = 0.0,
) -> Job:
    """Cut the patches of given boxes."""
    image_patches = patches.crop(image_HWC, boxes, config.padding)
    window = patches.window_around(mask, boxes, whole_mask=True) if len(boxes) else None
    if window is None or config.padding:
        mask_patches = patches.crop_from_mask(mask, boxes, config.padding)
    else:
        mask_patches = _crop_from(window, boxes)
    if settings.scheme == "instance":
        patch_size = config.patch_size
        image_patches = patches.resize_patches(image_patches, patch_size, patch_size, cv2.INTER_LINEAR)
        mask_patches = patches.resize_patches(mask_patches, patch_size, patch_size, cv2.INTER_NEAREST)
    photo_HWC = image_HWC if len(boxes) else NO_PHOTO
    return Job(index, photo_HWC, mask, boxes, image_patches, mask_patches, window, crowding, patch_count=len(boxes))


def _crop_from(window: patches.Window, boxes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A mask's patches of boxes, cut from a window that ends only where the boxes or the image end."""
    return patches.crop(window.pixels_HW, boxes - (window.x1, window.y1, window.x1, window.y1))


def next_pass(job: Job, probabilities_NPP: NDArray[np.float32], config: ModelConfig, settings: RefineSettings) -> Job:
    """Cut the refined mask's boundary into patches for the next model; none if the refinement was refused."""
    refined = paste(job, probabilities_NPP, settings)
    if refined is job.mask:
        # New arrays, not parts of the old ones: many such jobs may wait while others fill a batch.
        return replace(
            job,
            image_HWC=NO_PHOTO,
            boxes=np.empty((0, 4), np.int64),
            images_NHWC=np.empty((0, *job.images_NHWC.shape[1:]), np.uint8),
            masks_NHW=np.empty((0, *job.masks_NHW.shape[1:]), np.uint8),
            window=None,
            first_mask=job.came_in,
        )
    new = prepare_job(job.index, job.image_HWC, refined, config, settings, job.crowding)
    return replace(new, first_mask=job.came_in, patch_count=job.patch_count + new.patch_count)


def paste(job: Job, probabilities_NPP: NDArray[np.float32], settings: RefineSettings) -> Mask:
    """Put the network's answer back: the refined mask, or the one that came in if the photo does not bear it out.

    The first pass decides that for all: later ones go on from masks that were found worth it.
    """
    if job.window is None:
        return job.mask
    refined = _merge(job, job.window, probabilities_NPP, settings)
    if job.first_mask is None and gated(settings) and not _is_borne_out(job, refined, settings):
        return job.mask
    height, width = job.mask.image_height, job.mask.image_width
    return crop_mask(refined.pixels_HW.view(np.bool_), refined.x1, refined.y1, height, width)


def _is_borne_out(job: Job, refined: patches.Window, settings: RefineSettings) -> bool:
    """Whether the photo shows enough evidence for a refinement, in some patches without their padding."""
    boxes, images_NHWC, masks_NHW = job.boxes, job.images_NHWC, job.masks_NHW
    if len(boxes) > EVIDENCE_PATCHES:
        some = np.arange(EVIDENCE_PATCHES) * (len(boxes) - 1) // (EVIDENCE_PATCHES - 1)
        boxes, images_NHWC, masks_NHW = boxes[some], images_NHWC[some], masks_NHW[some]
    refined_NHW = _crop_from(refined, boxes)
    found = evidence(_inner(images_NHWC, refined_NHW), _inner(masks_NHW, refined_NHW), refined_NHW)
    return found >= EVIDENCE * settings.caution * (1 + CROWDED * job.crowding)


def gated(settings: RefineSettings) -> bool:
    """Whether refinements must be borne out by the photo."""
    # In the instance scheme's one patch the coarse boundary lies on the rim, where there is no telling.
    return settings.caution > 0 and settings.scheme != "instance"


def _inner(padded: NDArray[np.uint8], like: NDArray[np.generic]) -> NDArray[np.uint8]:
    """The middle of patches, as large as the others: without the padding."""
    side = like.shape[-1]
    padding = (padded.shape[1] - side) // 2
    return padded[:, padding : padding + side, padding : padding + side]


def _merge(
    job: Job, window: patches.Window, probabilities_NPP: NDArray[np.float32], settings: RefineSettings
) -> patches.Window:
    weights, coarse_NPP = None, None
    if settings.scheme == "instance":
        x1, y1, x2, y2 = job.boxes[0].tolist()
        probabilities_NPP = patches.resize_patches(probabilities_NPP, y2 - y1, x2 - x1, cv2.INTER_LINEAR)
    else:
        weights = patches.hann_weights(probabilities_NPP.shape[-1]) if settings.blend == "hann" else None
        coarse_NPP = _inner(job.masks_NHW, probabilities_NPP)
    caution = _caution(job.mask, settings)
    return patches.merged_window(window, job.boxes, probabilities_NPP, weights, caution, coarse_NPP)


def _caution(mask: Mask, settings: RefineSettings) -> patches.Caution:
    size = mask.area**0.5
    limited = settings.caution > 0 and size < REACH_BELOW
    return patches.Caution(settings.caution / 2, max(1, round(REACH * size)) if limited else None)


def predict_jobs(
    jobs: Iterable[Job],
    predict: Predict,
    patch_size: int,
    batch_size: int,
    most_bytes: int = MOST_BYTES_WAITING,
) -> Iterator[tuple[Job, NDArray[np.float32]]]:
    """Run the network on batches of `batch_size` patches, filled across jobs.

    Args:
        jobs: drawn only as batches need them. Those of one photo follow each other.
        predict: the network.
        patch_size: side of its answers.
        batch_size: patches of a batch.
        most_bytes: photos and masks of the jobs that may wait for a batch to fill; a single job may exceed it.

    Yields:
        Each job with its foreground probabilities (N, patch_size, patch_size), in the order given. A batch goes as it
        is, not full, when more would wait for it than `most_bytes`, or MOST_WAITING times as many jobs as it has places
        (most of them without patches). So memory is bounded by the batch, `most_bytes` and the largest job; what makes
        a batch depends on the jobs alone.
    """
    waiting: deque[tuple[Job, NDArray[np.float32]]] = deque()  # jobs with a patch not yet predicted
    batch: list[tuple[Job, NDArray[np.float32], int, int]] = []  # job, its output, from, to
    filled = 0
    held = _Held()
    for job in jobs:
        if batch and held.with_job(job) > most_bytes:
            filled = _predict_batch(batch, predict)
            yield from _taken(waiting, len(waiting))
        held = held if waiting else _Held()
        held.add(job)
        count = len(job.boxes)
        output = np.empty((count, patch_size, patch_size), np.float32)
        waiting.append((job, output))
        start = 0
        while start < count:
            stop = min(count, start + batch_size - filled)
            batch.append((job, output, start, stop))
            filled += stop - start
            start = stop
            if filled == batch_size:
                filled = _predict_batch(batch, predict)
                # All but the last job of a full batch are complete; the last is if it ended with the batch.
                yield from _taken(waiting, len(waiting) if stop == count else len(waiting) - 1)
                held = _Held()
                held.add(job)
        if batch and len(waiting) >= MOST_WAITING * batch_size:
            filled = _predict_batch(batch, predict)
        if not batch:
            yield from _taken(waiting, len(waiting))
    if batch:
        _predict_batch(batch, predict)
    yield from waiting


class _Held:
    """Bytes of the photos and masks of jobs that wait; those of one photo follow each other."""

    def __init__(self) -> None:
        self._bytes = 0
        self._photo_HWC = NO_PHOTO

    def with_job(self, job: Job) -> int:
        """What it would be with one job more."""
        photo = 0 if job.image_HWC is self._photo_HWC else job.image_HWC.nbytes
        return self._bytes + photo + job.mask_bytes

    def add(self, job: Job) -> None:
        self._bytes = self.with_job(job)
        if job.image_HWC.size:
            self._photo_HWC = job.image_HWC


def _taken(waiting: deque[T], count: int) -> Iterator[T]:
    return (waiting.popleft() for _ in range(count))


def _predict_batch(batch: list[tuple[Job, NDArray[np.float32], int, int]], predict: Predict) -> int:
    """Give each job its answers, and empty the batch; returns the patches that are left in it: none."""
    images = np.concatenate([job.images_NHWC[start:stop] for job, _, start, stop in batch])
    masks = np.concatenate([job.masks_NHW[start:stop] for job, _, start, stop in batch])
    probabilities = predict(images, masks)
    position = 0
    for _, output, start, stop in batch:
        output[start:stop] = probabilities[position : position + stop - start]
        position += stop - start
    batch.clear()
    return 0
