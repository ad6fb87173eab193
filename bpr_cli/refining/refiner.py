"""`Refiner`: load a model once, then refine masks in memory or in files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpr_cli.engines.engine import Engine, Network, open_network
from bpr_cli.errors import InputError, refuse_beside
from bpr_cli.masks import Mask, crop_mask, to_frame
from bpr_cli.network.config import ModelConfig
from bpr_cli.patches import OBJECT
from bpr_cli.refining.arrays import checked_image, checked_masks, checked_scores
from bpr_cli.refining.batches import MOST_BYTES_WAITING, Answer, predict_looks
from bpr_cli.refining.containers import open_container
from bpr_cli.refining.crowding import crowding
from bpr_cli.refining.looks import Look, Refined, Subject, first_look, is_gated, is_object_model, next_look
from bpr_cli.refining.neighbours import Neighbour, find_neighbours
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import DEFAULT_SPEED, NameOrPath, choose_settings
from bpr_cli.refining.stream import map_ahead

# Batches of 8 to 32 are the fastest on CPUs, 32 of these in 8 bits (`bpr benchmark --sweep`); GPUs of 8 GB and more
# hold 256 patches of W18s at 128 px.
CPU_BATCH = 32
GPU_BATCH = 256
# How far beyond an object's size its patches may show other detections: half a patch with its padding.
NEIGHBOUR_REACH = 64  # px
MERGES_AHEAD = 64  # more than the subjects that a batch of patches completes, so that the network need not wait

STAGES = ("read photo", "decode", "crowding", "cut", "network", "merge", "encode", "write")
Timing = Callable[[str], AbstractContextManager[None]]


def _untimed(stage: str) -> AbstractContextManager[None]:
    return nullcontext()


class Refiner:
    """Refines the boundaries of masks.

    Examples:
        >>> refiner = Refiner.from_pretrained("davis-fast")
        >>> better = refiner.refine(photo, masks)  # photo (H, W, 3) uint8 RGB, masks (N, H, W)
        >>> better.shape == masks.shape and better.dtype == masks.dtype
        True

    Attributes:
        networks: the one of each pass.
        settings: patches, flips, blending, passes, batch size.
        timing: called with a stage's name (STAGES), gives the context in which that stage runs; for measuring.
    """

    def __init__(self, networks: Sequence[Network], settings: RefineSettings, timing: Timing = _untimed) -> None:
        if len(networks) != settings.passes:
            raise ValueError(f"{len(networks)} networks for {settings.passes} passes")
        if settings.scheme == "instance" and any(network.config.padding for network in networks):
            raise InputError("a model with padding cannot refine by the instance scheme", remedy="Use --scheme dense")
        if any(is_object_model(network.config) for network in networks[1:]):
            raise InputError(
                "a model that looks at whole objects does so in the first pass alone",
                remedy="Name one for patches after it: --model crowds-lite0 --model davis-w18s; or use --passes 1",
            )
        self.networks = list(networks)
        self.settings = settings
        self.timing = timing
        for scheme in dict.fromkeys(network.config.scheme for network in networks):
            if scheme not in (None, OBJECT, settings.scheme):
                warnings.warn(
                    f"the model was trained on patches of the {scheme} scheme, and does worse on those of the "
                    f"{settings.scheme} scheme; use --scheme {scheme}",
                    stacklevel=2,
                )

    @classmethod
    def from_pretrained(
        cls,
        models: NameOrPath | Sequence[NameOrPath] | None = None,
        device: str = "auto",
        precision: str = "auto",
        settings: RefineSettings | None = None,
        engine: str = "auto",
        *,
        speed: str = DEFAULT_SPEED,
        **changes: object,
    ) -> Refiner:
        """Load the models of a speed, or others.

        Args:
            models: one, or one for each pass, the last one also for all that are left; None: those of the speed.
            device, precision, engine: as in `open_network`, and what `models` may name is told there too.
            settings: all settings at once, instead of `speed` and `changes`.
            speed: "fast", "balanced" or "best": sets models, NMS threshold, flips, blending and passes.
            changes: single fields of `RefineSettings` that shall be otherwise than by `speed`: `flips=False`.

        Raises:
            InputError: no such model, device, engine, speed or setting, a broken file, more models than passes, or
                `settings` beside a speed or single settings.
        """
        names, settings = choose_settings(models, settings, speed, **changes)
        opened = {name: open_network(name, device, precision, engine) for name in dict.fromkeys(names)}
        return cls([opened[name] for name in names], settings)

    @property
    def batch_size(self) -> int:
        """Patches given to a network at once."""
        if self.settings.batch_size is not None:
            return self.settings.batch_size
        return CPU_BATCH if self.networks[0].engine.device.type == "cpu" else GPU_BATCH

    @property
    def engine(self) -> str:
        """What computes, how and where: "openvino int8 on cpu"; of several passes, each that differs."""
        return ", ".join(dict.fromkeys(map(str, self.networks)))

    @property
    def _configs(self) -> list[ModelConfig]:
        return [network.config for network in self.networks]

    def first_looks(
        self,
        indices: Sequence[int],
        image_HWC: NDArray[np.uint8],
        masks: Sequence[Mask],
        scores: Sequence[float | None] | None = None,
        with_probabilities: bool = False,
    ) -> Iterator[Look | Refined]:
        """What the first pass is shown of each instance of one image, one by one.

        Args:
            indices: the subjects' `index`, one for each mask.
            image_HWC: uint8 RGB.
            masks: all masks of the image.
            scores: of each mask, see `crowding`.
            with_probabilities: see `Subject`.
        """
        crowded = [0.0] * len(masks)
        if is_gated(self.settings) or is_object_model(self._configs[0]):
            with self.timing("crowding"):
                crowded = crowding(masks, scores)
        neighbours: list[tuple[Neighbour, ...]] = [()] * len(masks)
        if any(config.sees_neighbours for config in self._configs):
            with self.timing("crowding"):
                neighbours = find_neighbours(masks, scores, NEIGHBOUR_REACH)
        for index, mask, share, others, score in zip(
            indices, masks, crowded, neighbours, scores or [None] * len(masks), strict=True
        ):
            if score is not None and score < self.settings.min_score:
                yield Refined(index, mask, mask, 0)
                continue
            with self.timing("cut"):
                subject = Subject(index, image_HWC, mask, share, others, with_probabilities)
                look = first_look(subject, self._configs, self.settings)
            yield look

    def run(self, looks: Iterable[Look | Refined]) -> Iterator[Refined]:
        """Run the networks over looks, in all passes: the refined subjects, in the order given.

        What a pass finds is merged, and cut for the next one, in a thread beside the network's.
        """
        items: Iterable[Look | Refined] = looks
        with ThreadPoolExecutor(1, "bpr-merge") as merger:
            for number, network in enumerate(self.networks):
                predict = partial(self._predict, network.engine)
                size = network.config.patch_size
                answers = predict_looks(items, predict, size, self.batch_size, MOST_BYTES_WAITING, number)
                items = map_ahead(merger, self._merge, answers, MERGES_AHEAD, _bytes_held, MOST_BYTES_WAITING)
            for item in items:
                assert isinstance(item, Refined)  # after the last pass there are no looks
                yield item

    def _predict(self, engine: Engine, images_NHWC: NDArray[np.uint8], masks: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self.timing("network"):
            return engine.predict(images_NHWC, masks, flips=self.settings.flips)

    def _merge(self, item: Answer | Look | Refined) -> Look | Refined:
        if not isinstance(item, Answer):
            return item
        with self.timing("merge"):
            return next_look(*item, self._configs, self.settings)

    def refine(self, image: Any, masks: Any, scores: Any = None, *, return_probabilities: bool = False) -> Any:
        """Refine the masks of one image.

        Args:
            image: (H, W, 3) uint8 RGB: an array, a tensor on any device, or a Pillow image.
            masks: (N, H, W) bool or integer, foreground nonzero and of one value a mask: an array, a tensor, or a list
                of masks. Or all detections of the image as other libraries hold them: `supervision.Detections`,
                torchvision's dict, ultralytics' `Results`, detectron2's `Instances` (`containers`). Not changed. All
                masks of the image belong together: where they crowd each other, more caution is called for.
            scores: the detections' scores, one a mask; an unlikely neighbour counts for less. None: those that
                `masks` brings along, or all are certain.
            return_probabilities: also return how likely each pixel is foreground.

        Returns:
            An array (N, H, W) of the masks' dtype, 0 and 1, in the same order; or what `masks` was, with new masks and
            with boxes that follow them, all else as it was.

            With `return_probabilities` a pair of that and a float32 array (N, H, W), 0..1: in the patches of the pass
            that decided the mask, the mean of what the network answered; everywhere else (beyond the patches, out of
            caution's reach, and in masks that were returned as they came) 0 or 1 of the mask. Without caution a mask is
            where they are above 0.5. With it, a pixel between 0.5 - caution / 2 and 0.5 + caution / 2 is as it was
            before that pass, whatever its probability; beyond these the mask follows them.

        Raises:
            InputError: shapes or types do not fit, detections without masks, or scores given twice.
        """
        return self._refine(checked_image(image), masks, scores, return_probabilities)

    def for_image(self, image: Any) -> ImageRefiner:
        """A refiner for one image, to be asked as often as wanted: its `refine` takes masks alone.

        The image is checked and copied once, so that later changes to it do not matter. Nothing is set in the refiner
        itself: several images may be open, and used from several threads.

        Args:
            image: as in `refine`.

        Raises:
            InputError: it is not uint8 RGB.
        """
        image_HWC = checked_image(image).copy()
        image_HWC.flags.writeable = False
        return ImageRefiner(self, image_HWC)

    def _refine(self, image_HWC: NDArray[np.uint8], masks: Any, scores: Any, return_probabilities: bool) -> Any:
        height, width = image_HWC.shape[:2]
        opened = open_container(masks, image_HWC)
        if opened is None:
            masks_NHW = checked_masks(masks, height, width)
        else:
            masks_NHW = opened.masks_NHW
            if opened.scores is not None:
                refuse_beside("detections that have scores", scores=scores)
                scores = opened.scores
        scores_N = checked_scores(scores, len(masks_NHW))
        crops = [crop_mask(mask_HW, 0, 0, height, width) for mask_HW in masks_NHW]
        looks = self.first_looks(range(len(crops)), image_HWC, crops, scores_N, return_probabilities)
        refined_NHW = np.zeros_like(masks_NHW)
        probabilities_NHW = np.zeros(masks_NHW.shape, np.float32) if return_probabilities else None
        for refined in self.run(looks):
            refined_NHW[refined.index] = to_frame(refined.mask)
            if probabilities_NHW is not None:
                _fill_probabilities(probabilities_NHW[refined.index], refined)
        result = refined_NHW if opened is None else opened.close(refined_NHW)
        return result if probabilities_NHW is None else (result, probabilities_NHW)


def _fill_probabilities(frame_HW: NDArray[np.float32], refined: Refined) -> None:
    frame_HW[:] = to_frame(refined.mask)
    if (found := refined.probabilities) is not None:
        height, width = found.values_HW.shape
        frame_HW[found.y1 : found.y1 + height, found.x1 : found.x1 + width] = found.values_HW


@dataclass(frozen=True, slots=True, eq=False)
class ImageRefiner:
    """A refiner and the image that it is asked about; see `Refiner.for_image`.

    Attributes:
        refiner: the models and settings.
        image_HWC: (H, W, 3) uint8 RGB, read-only.
    """

    refiner: Refiner
    image_HWC: NDArray[np.uint8]

    def refine(self, masks: Any, scores: Any = None, *, return_probabilities: bool = False) -> Any:
        """Refine masks of the image: what `Refiner.refine` gives for it."""
        return self.refiner._refine(self.image_HWC, masks, scores, return_probabilities)


def _bytes_held(item: Answer | Look | Refined) -> int:
    """What one holds in memory, at most: a photo counts with each look at it."""
    if not isinstance(item, Answer):
        return item.mask_bytes
    look = item.look
    return look.mask_bytes + look.subject.image_HWC.nbytes + look.images_NHWC.nbytes + item.probabilities_NPP.nbytes
