"""`Refiner`: load a model once, then refine masks in memory or in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bpr_cli.errors import InputError
from bpr_cli.masks import Mask, crop_mask, to_frame
from bpr_cli.network.engine import Network, open_network
from bpr_cli.refining.crowding import crowding
from bpr_cli.refining.jobs import MOST_BYTES_WAITING, Job, gated, next_pass, paste, predict_jobs, prepare_job
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import NameOrPath, models_of_passes

Predicted = Iterator[tuple[Job, NDArray[np.float32]]]  # jobs with their foreground probabilities (N, P, P)

# Batches of 8 to 32 are the fastest on CPUs, 32 of these in 8 bits (`bpr benchmark --sweep`); GPUs of 8 GB and more
# hold 256 patches of W18s at 128 px.
CPU_BATCH = 32
GPU_BATCH = 256


class Refiner:
    """Refines the boundaries of masks.

    Example:
        refiner = Refiner.from_pretrained()
        better = refiner.refine(photo, masks)  # photo (H, W, 3) uint8 RGB, masks (N, H, W)

    Attributes:
        networks: the one of each pass.
        settings: patches, flips, blending, passes, batch size.
    """

    def __init__(self, networks: Sequence[Network], settings: RefineSettings) -> None:
        if len(networks) != settings.passes:
            raise ValueError(f"{len(networks)} networks for {settings.passes} passes")
        if settings.scheme == "instance" and any(network.config.padding for network in networks):
            raise InputError("a model with padding cannot refine by the instance scheme", remedy="Use --scheme dense")
        self.networks = list(networks)
        self.settings = settings

    @classmethod
    def from_pretrained(
        cls,
        models: NameOrPath | Sequence[NameOrPath] | None = None,
        device: str = "auto",
        precision: str = "auto",
        settings: RefineSettings | None = None,
        engine: str = "auto",
    ) -> Refiner:
        """Load a model, or several for several passes.

        Args:
            models: one, or one for each pass, the last one also for all that are left; None: those of the default
                speed.
            device, precision, engine: as in `open_network`, and what `models` may name is told there too.
            settings: patches, flips, blending, passes, batch size.

        Raises:
            InputError: no such model, device or engine, a broken file, or more models than passes.
        """
        settings = settings or RefineSettings()
        names = models_of_passes(models, settings.passes)
        opened = {name: open_network(name, device, precision, engine) for name in dict.fromkeys(names)}
        return cls([opened[name] for name in names], settings)

    @property
    def batch_size(self) -> int:
        """Patches given to a network at once."""
        if self.settings.batch_size is not None:
            return self.settings.batch_size
        return CPU_BATCH if self.networks[0].engine.device.type == "cpu" else GPU_BATCH

    def prepare(
        self,
        indices: Sequence[int],
        image_HWC: NDArray[np.uint8],
        masks: Sequence[Mask],
        scores: Sequence[float | None] | None = None,
    ) -> Iterator[Job]:
        """Cut the instances of one image, one by one, into the patches that the first pass takes.

        Args:
            indices: the jobs' `index`, one for each mask.
            image_HWC: uint8 RGB.
            masks: all masks of the image.
            scores: of each mask, see `crowding`.
        """
        config = self.networks[0].config
        crowded = crowding(masks, scores) if gated(self.settings) else [0.0] * len(masks)
        return (
            prepare_job(index, image_HWC, mask, config, self.settings, share)
            for index, mask, share in zip(indices, masks, crowded, strict=True)
        )

    def run(self, jobs: Iterable[Job]) -> Predicted:
        """Run the networks over jobs, in all passes: each last job with its probabilities, in the order given."""
        first, *others = self.networks
        predicted = self._predict(jobs, first, is_last=not others)
        for left, network in zip(reversed(range(len(others))), others, strict=True):
            predicted = self._look_again(predicted, network, is_last=left == 0)
        return predicted

    def _predict(self, jobs: Iterable[Job], network: Network, is_last: bool) -> Predicted:
        predict = partial(network.engine.predict, flips=self.settings.flips)
        if is_last:
            jobs = (job.without_photo() for job in jobs)
        return predict_jobs(jobs, predict, network.config.patch_size, self.batch_size, MOST_BYTES_WAITING)

    def _look_again(self, predicted: Predicted, network: Network, is_last: bool) -> Predicted:
        jobs = (next_pass(job, found, network.config, self.settings) for job, found in predicted)
        return self._predict(jobs, network, is_last)

    def refine(
        self, image_HWC: NDArray[np.uint8], masks_NHW: NDArray[np.generic], scores: Sequence[float] | None = None
    ) -> NDArray[np.generic]:
        """Refine the masks of one image.

        Args:
            image_HWC: uint8 RGB.
            masks_NHW: bool or integer, foreground nonzero; not changed. All masks of the image belong together: where
                they crowd each other, more caution is called for.
            scores: the detections' scores, one a mask; an unlikely neighbour counts for less. None: all are certain.

        Returns:
            (N, H, W) of the masks' dtype, 0 and 1, in the same order.

        Raises:
            InputError: shapes or types do not fit.
        """
        _check_arrays(image_HWC, masks_NHW)
        height, width = image_HWC.shape[:2]
        masks = [crop_mask(mask_HW, 0, 0, height, width) for mask_HW in masks_NHW]
        if scores is not None and len(scores) != len(masks):
            raise InputError(f"{len(scores)} scores for {len(masks)} masks", remedy="Give one score a mask")
        jobs = self.prepare(range(len(masks)), image_HWC, masks, scores)
        refined = np.zeros_like(masks_NHW)
        for job, probabilities in self.run(jobs):
            refined[job.index] = to_frame(paste(job, probabilities, self.settings))
        return refined


def _check_arrays(image_HWC: NDArray[np.uint8], masks_NHW: NDArray[np.generic]) -> None:
    if image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or image_HWC.dtype != np.uint8:
        raise InputError(f"the image is {image_HWC.dtype} {image_HWC.shape}, not uint8 (H, W, 3) RGB")
    if masks_NHW.ndim != 3 or masks_NHW.shape[1:] != image_HWC.shape[:2]:
        raise InputError(
            f"the masks are {masks_NHW.shape}, the image is {image_HWC.shape[:2]}",
            remedy="Give masks as (N, height, width) of the image's size",
        )
    if masks_NHW.dtype.kind not in "biu":
        raise InputError(f"the masks are {masks_NHW.dtype}", remedy="Threshold them first: masks > 0.5")
