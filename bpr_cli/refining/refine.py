"""`bpr refine`: a results file and a folder of photos in, the same results with better boundaries out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.formats import check_output, coco, mask_images, read_results, write_results
from bpr_cli.formats.images import ImageFinder, image_size, read_image
from bpr_cli.formats.records import ImageInstances, Results
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import RLE, Mask, encode_rle, is_same
from bpr_cli.progress import progress_bar
from bpr_cli.refining.looks import Look, Refined
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import NameOrPath
from bpr_cli.refining.stream import map_ahead

# Threads beside the network's own. Two readers keep up with the network on two cores; a GPU takes as many as there are
# (without any network two cores bring 3,000 patches a second: examples/SPEED.md). Each image read ahead costs its own
# memory and its patches' (1024x2048 with 15 instances: 9 MB), so a few are enough.
READERS = min(8, max(2, (os.cpu_count() or 1) // 2))
IMAGES_AHEAD = 2 * READERS
MOST_BYTES_AHEAD = 512 << 20  # of photos
INSTANCES_BEHIND = 32


@dataclass(frozen=True, slots=True)
class RefineSummary:
    """What a refinement did.

    Attributes:
        instances: detections in the output.
        changed: detections whose mask is another than before.
        patches: patches that went through the network.
        skipped: what was left as it was because it could not be used (`skip_bad`), a line each.
        engine: what computed, in which precision and where (`Refiner.engine`).
    """

    instances: int
    changed: int
    patches: int
    skipped: tuple[str, ...]
    engine: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What reading one image gave: looks for the network, and what was wrong."""

    looks: list[Look | Refined]
    problems: list[str]


def refine(
    input: Path,
    output: Path,
    *,
    images: Path | None = None,
    image_info: Path | None = None,
    masks: Sequence[Path] = (),
    model: NameOrPath | Sequence[NameOrPath] | Refiner | None = None,
    settings: RefineSettings | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    skip_bad: bool = False,
    quiet: bool = False,
) -> RefineSummary:
    """Refine a results file, a dataset file, or the masks of one photo.

    Args:
        input: COCO results list or dataset dict (JSON); with `masks`, a photo.
        output: file for the refined results, in the input's form; with `masks`, a folder.
        images: folder of the photos; None: the input's own folder. Not used with `masks`.
        image_info: COCO JSON whose `images` tell the file names, for a results list whose photos are not named by
            image id.
        masks: mask images of the photo `input`.
        model: one or several as in `Refiner.from_pretrained`, or a refiner already loaded (then `settings`, `device`,
            `precision` and `engine` are its own).
        settings: patches, flips, blending, passes, batch size.
        device, precision, engine: as in `Refiner.from_pretrained`.
        skip_bad: leave what cannot be used as it was instead of stopping.
        quiet: no progress bar.

    Raises:
        InputError: bad input; nothing is written then.
    """
    results = mask_images.read(input, masks) if masks else read_results(input)
    if image_info is not None:
        results = coco.with_image_info(results, image_info)
    # What can be known to fail is found out before the model is loaded and the work begins.
    check_output(results, output)
    skipped: list[str] = []
    paths = _find_images(results, images, skipped if skip_bad else None)
    refiner = (
        model if isinstance(model, Refiner) else Refiner.from_pretrained(model, device, precision, settings, engine)
    )
    segmentations, changed, patches = _refine_masks(refiner, results, paths, skipped, skip_bad, quiet)
    with refiner.timing("write"):
        write_results(results, segmentations, output)
    return RefineSummary(results.count, changed, patches, tuple(skipped), refiner.engine)


def _refine_masks(
    refiner: Refiner,
    results: Results,
    paths: dict[int | str, Path],
    skipped: list[str],
    skip_bad: bool,
    quiet: bool,
) -> tuple[list[RLE | None], int, int]:
    """New masks by index (None: as it was), how many changed, how many patches it took."""
    entries = [entry for entry in results.images if entry.image.id in paths]
    segmentations: list[RLE | None] = [None] * results.count
    changed = patches = 0
    prepare = partial(_prepare_image, refiner, paths, skip_bad)
    photo_bytes = partial(_photo_bytes, paths)
    with (
        progress_bar(sum(len(entry.instances) for entry in entries), "refine", "instance", quiet=quiet) as bar,
        ThreadPoolExecutor(READERS, "bpr-read") as readers,
        ThreadPoolExecutor(1, "bpr-encode") as encoder,
    ):

        def looks() -> Iterator[Look | Refined]:
            for prepared in map_ahead(readers, prepare, entries, IMAGES_AHEAD, photo_bytes, MOST_BYTES_AHEAD):
                skipped.extend(prepared.problems)
                bar.update(len(prepared.problems))
                yield from prepared.looks

        for refined, rle in map_ahead(encoder, partial(_encode, refiner), refiner.run(looks()), INSTANCES_BEHIND):
            segmentations[refined.index] = rle
            patches += refined.patch_count
            changed += not is_same(refined.mask, refined.coarse)
            bar.update()
    return segmentations, changed, patches


def _find_images(results: Results, folder: Path | None, skipped: list[str] | None) -> dict[int | str, Path]:
    """Image id -> file. Missing ones are an error, or lines in `skipped` where that is given."""
    if results.kind == "mask-images":
        return {entry.image.id: results.path for entry in results.images}
    finder = ImageFinder(folder or results.path.parent)
    if skipped is None:
        return finder.find_all([entry.image for entry in results.images])
    paths = {}
    for entry in results.images:
        try:
            paths[entry.image.id] = finder.find(entry.image)
        except InputError as error:
            skipped.append(str(error))
    return paths


def _photo_bytes(paths: dict[int | str, Path], entry: ImageInstances) -> int:
    """What the photo will take in memory, by the file's header; 0 if it has none, which reading it will say."""
    try:
        height, width = image_size(paths[entry.image.id])
    except InputError:
        return 0
    return 3 * height * width


def _prepare_image(refiner: Refiner, paths: dict[int | str, Path], skip_bad: bool, entry: ImageInstances) -> _Prepared:
    """Read one image and cut its instances into patches."""
    problems: list[str] = []
    record = entry.image
    size = (record.height, record.width) if record.height and record.width else None
    try:
        with refiner.timing("read photo"):
            image_HWC = read_image(paths[record.id], size)
    except InputError as error:
        if not skip_bad:
            raise
        return _Prepared([], [str(error)] * len(entry.instances))
    height, width = image_HWC.shape[:2]
    masks: dict[int, Mask] = {}
    scores: list[float | None] = []
    for instance in entry.instances:
        try:
            with refiner.timing("decode"):
                masks[instance.index] = decode_mask(instance, height, width)
            scores.append(instance.score)
        except InputError as error:
            if not skip_bad:
                raise
            problems.append(str(error))
    return _Prepared(list(refiner.first_looks(list(masks), image_HWC, list(masks.values()), scores)), problems)


def _encode(refiner: Refiner, refined: Refined) -> tuple[Refined, RLE]:
    with refiner.timing("encode"):
        return refined, encode_rle(refined.mask)
