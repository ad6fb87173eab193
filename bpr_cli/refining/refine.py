"""`bpr refine`: a results file and a folder of photos in, the same results with better boundaries out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bpr_cli.comparing.comparison import Comparison
from bpr_cli.errors import InputError, refuse_beside
from bpr_cli.files import PathLike, as_path, as_paths
from bpr_cli.formats import (
    check_output,
    coco,
    label_maps,
    mask_folders,
    mask_images,
    read_results,
    with_masks_as,
    write_results,
)
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import PhotoReader, image_size
from bpr_cli.formats.plausibility import decode_masks
from bpr_cli.formats.records import ImageInstances, Layout, MaskForm, Results, Skipped
from bpr_cli.formats.rle import RLE, encode_rle
from bpr_cli.formats.segmentation import OwnForm, decode_mask
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.masks import is_same
from bpr_cli.progress import progress_bar
from bpr_cli.refining.exclusive import Contest, settled
from bpr_cli.refining.looks import Look, Refined
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import DEFAULT_SPEED, NameOrPath, choose_settings
from bpr_cli.refining.stream import map_ahead
from bpr_cli.refining.watch import Watch

# Threads beside the network's own. Two readers keep up with the network on two cores; a GPU takes as many as there are
# (without any network two cores bring 3,000 patches a second: examples/SPEED.md). Each image read ahead costs its own
# memory and its patches' (1024x2048 with 15 instances: 9 MB), so a few are enough.
READERS = min(8, max(2, (os.cpu_count() or 1) // 2))
IMAGES_AHEAD = 2 * READERS
MOST_BYTES_AHEAD = 512 << 20  # of photos
INSTANCES_BEHIND = 32
# Folders of images of their own, beside which no photos are looked for.
NEED_IMAGES = (label_maps.OBJECTS, label_maps.CLASSES, mask_folders.KIND)
_DEFAULTS = {"speed": DEFAULT_SPEED, "device": "auto", "precision": "auto", "engine": "auto"}


@dataclass(frozen=True, slots=True)
class RefineSummary:
    """What a refinement did.

    Attributes:
        instances: detections in the output.
        changed: detections whose mask is another than before.
        patches: patches that went through the network.
        skipped: what was left as it was, because it could not be used (`skip_bad`) or because there is doubt that
            mask and record belong together (`formats.plausibility`).
        engine: what computed, in which precision and where (`Refiner.engine`).
    """

    instances: int
    changed: int
    patches: int
    skipped: Skipped
    engine: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What reading one image gave: looks for the network, what was wrong, and where its pixels will be settled."""

    looks: list[Look | Refined]
    skipped: Skipped
    contest: Contest | None = None


def refine(
    input: PathLike,
    output: PathLike,
    *,
    images: PathLike | Sequence[PathLike] | None = None,
    image_info: PathLike | None = None,
    masks: PathLike | Sequence[PathLike] = (),
    model: NameOrPath | Sequence[NameOrPath] | Refiner | None = None,
    speed: str = DEFAULT_SPEED,
    settings: RefineSettings | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    orientation: str = "exif",
    max_pixels: int = MAX_PIXELS,
    mask_form: MaskForm = "same",
    exclusive: bool = False,
    skip_bad: bool = False,
    report: PathLike | None = None,
    json_file: PathLike | None = None,
    quiet: bool = False,
    **changes: object,
) -> RefineSummary:
    """Refine a results file, a dataset file, or the masks of one photo.

    Args:
        input: COCO results list or dataset dict (JSON); with `masks`, a photo.
        output: file for the refined results, in the input's form; with `masks`, a folder.
        images: folder of the photos, or several, or the photo where there is but one; None: where the input says that
            they are, else its own folder.
        image_info: COCO JSON whose `images` tell the file names, for a results list whose photos are not named by
            image id.
        masks: mask images of the photo `input`, or folders or patterns of them (`*.png`), or a map of its objects;
            without `images` and `image_info` then.
        model: one or several as in `Refiner.from_pretrained`, or a refiner already loaded, which brings all that
            `speed`, `settings`, `device`, `precision`, `engine` and `changes` decide.
        speed, settings, device, precision, engine: as in `Refiner.from_pretrained`.
        orientation: which way up photos are where neither sizes nor masks tell: "exif" or "stored" (`read_image`).
        max_pixels: larger photos are refused.
        mask_form: how masks are written: "same" as the record had its own, "rle" or "polygons".
        exclusive: no pixel is in two masks of an image: it is the surer one's (`exclusive.Contest`). Label maps, whose
            pixels have one value each, are always settled so.
        skip_bad: leave what cannot be used as it was instead of stopping.
        report: folder for a page of what changed (`write_changes_page`); None: no page.
        json_file: file for the figures of what changed; None: no file.
        quiet: no progress bar.
        changes: single settings, as in `Refiner.from_pretrained`: `caution=0.2`.

    What was used but may be meant otherwise is told by `InputWarning`s.

    Raises:
        InputError: bad input, or an argument that would not be used beside the others; nothing is written then.
    """
    path, output = as_path(input, "input"), as_path(output, "output")
    mask_paths = as_paths(masks, "masks")
    if mask_paths:
        refuse_beside("the masks of one photo", images=images, image_info=image_info)
    if isinstance(model, Refiner):
        decided = {"settings": settings, "speed": speed, "device": device, "precision": precision, "engine": engine}
        refuse_beside("a loaded refiner", _DEFAULTS, **decided, **changes)
    else:
        model, settings = choose_settings(model, settings, speed, **changes)
    folders = None if images is None else as_paths(images, "images")
    reader = PhotoReader(orientation, max_pixels)
    results = (
        mask_images.read(path, mask_paths, max_pixels)
        if mask_paths
        else read_results(path, max_pixels, skip_bad=skip_bad, images=folders)
    )
    results = with_masks_as(results, mask_form)
    if image_info is not None:
        results = coco.with_image_info(results, as_path(image_info, "image_info"))
    # What can be known to fail is found out before the model is loaded and the work begins.
    check_output(results, output)
    page = None if report is None else as_path(report, "report")
    figures = None if json_file is None else as_path(json_file, "json_file")
    if page is not None or figures is not None:
        _check_outputs(figures, page, [path, *mask_paths], output)
    paths, missing = _find_images(results, folders, skip_bad)
    refiner = (
        model if isinstance(model, Refiner) else Refiner.from_pretrained(model, device, precision, settings, engine)
    )
    layout = results.layout if exclusive or results.layout != "masks" else None
    watch = Watch(results.count) if page is not None or figures is not None else None
    drawn = frozenset[int]() if skip_bad or mask_form != "same" else _drawn(results)
    segmentations, changed, patches, skipped = _refine_masks(
        refiner, reader, results, paths, layout, drawn, skip_bad, quiet, watch
    )
    with refiner.timing("write"):
        write_results(results, segmentations, output)
    left_out = Skipped.joined([results.skipped, missing, skipped])
    summary = RefineSummary(results.count, changed, patches, left_out, refiner.engine)
    if watch is not None:
        comparison = watch.comparison(results, segmentations, paths, reader, _facts(path, output, refiner))
        _write_look(comparison, figures, page, quiet)
    return summary


def _check_outputs(json_file: Path | None, report: Path | None, inputs: Sequence[Path], output: Path) -> None:
    """Make sure that what is told of the changes can be written, and that it is none of the inputs nor the output."""
    from bpr_cli.report.outputs import check_outputs  # with what draws pages, which few ask for

    check_outputs(json_file, report, inputs, output=output)


def _write_look(comparison: Comparison, json_file: Path | None, report: Path | None, quiet: bool) -> None:
    from bpr_cli.report.changes_json import write_changes_json
    from bpr_cli.report.changes_page import write_changes_page

    if json_file is not None:
        write_changes_json(comparison, json_file)
    if report is not None:
        write_changes_page(comparison, report, quiet=quiet)


def _facts(path: Path, output: Path, refiner: Refiner) -> list[tuple[str, str]]:
    """What made the output, for those who look at it."""
    settings = refiner.settings
    return [
        ("before", path.name),
        ("after", output.name),
        ("engine", refiner.engine),
        ("passes", str(settings.passes)),
        ("caution", f"{settings.caution:g}"),
        ("least score", f"{settings.min_score:g}"),
    ]


def _refine_masks(
    refiner: Refiner,
    reader: PhotoReader,
    results: Results,
    paths: dict[int | str, Path],
    layout: Layout | None,
    drawn: Set[int],
    skip_bad: bool,
    quiet: bool,
    watch: Watch | None,
) -> tuple[list[RLE | None], int, int, Skipped]:
    """New masks by index (None: as it was), how many changed, how many patches it took, what was skipped.

    `watch`, where there is one, is shown every refined mask.
    """
    entries = [entry for entry in results.images if entry.image.id in paths]
    segmentations: list[RLE | None] = [None] * results.count
    changed = patches = 0
    skipped: list[Skipped] = []
    contests: deque[Contest] = deque()
    prepare = partial(_prepare_image, refiner, reader, paths, layout, skip_bad)
    photo_bytes = partial(_photo_bytes, paths)
    with (
        progress_bar(sum(len(entry.instances) for entry in entries), "refine", "instance", quiet=quiet) as bar,
        ThreadPoolExecutor(READERS, "bpr-read") as readers,
        ThreadPoolExecutor(1, "bpr-encode") as encoder,
    ):

        def looks() -> Iterator[Look | Refined]:
            for prepared in map_ahead(readers, prepare, entries, IMAGES_AHEAD, photo_bytes, MOST_BYTES_AHEAD):
                skipped.append(prepared.skipped)
                bar.update(prepared.skipped.instances)
                contests.extend([] if prepared.contest is None else [prepared.contest])
                yield from prepared.looks

        outcome = refiner.run(looks())
        if layout is not None:
            outcome = settled(outcome, contests)
        for refined, rle in map_ahead(encoder, partial(_encode, refiner), outcome, INSTANCES_BEHIND):
            is_changed = not is_same(refined.mask, refined.coarse)
            segmentations[refined.index] = rle if is_changed or refined.index not in drawn else None
            patches += refined.patch_count
            changed += is_changed
            if watch is not None:
                watch.add(refined)
            bar.update()
    return segmentations, changed, patches, Skipped.joined(skipped)


def _drawn(results: Results) -> Set[int]:
    """Indices of instances whose points say more than their masks, so that those which do not change stay as drawn."""
    return {
        instance.index
        for entry in results.images
        for instance in entry.instances
        if isinstance(instance.segmentation, (list, OwnForm))
    }


def _find_images(
    results: Results, folders: Sequence[Path] | None, skip_bad: bool
) -> tuple[dict[int | str, Path], Skipped]:
    """Image id -> file, of images with instances. Missing ones are an error, or skipped."""
    if results.kind == "mask-images":
        return {entry.image.id: results.path for entry in results.images}, Skipped()
    if folders is not None and len(folders) == 1 and folders[0].is_file():
        return _one_photo(results, folders[0]), Skipped()
    if folders is None and results.photos is None and results.kind in NEED_IMAGES:
        raise InputError(
            "the photos of these are not known", file=results.path, remedy="Give their folder with --images"
        )
    finder = ImageFinder(folders or results.photos or results.path.parent)
    entries = [entry for entry in results.images if entry.instances]
    problems: list[str] = []
    paths = finder.find_all([entry.image for entry in entries], problems if skip_bad else None)
    left_out = [entry for entry in entries if entry.image.id not in paths]
    count = sum(len(entry.instances) for entry in left_out)
    return paths, Skipped(images=len(left_out), instances=count, lines=tuple(problems))


def _one_photo(results: Results, photo: Path) -> dict[int | str, Path]:
    """Image id -> the photo; InputError unless there is one image."""
    if len(results.images) != 1:
        raise InputError(
            f"this is one file, the results are of {len(results.images)} images",
            file=photo,
            remedy="Give the folder of the photos with --images",
        )
    return {results.images[0].image.id: photo}


def _photo_bytes(paths: dict[int | str, Path], entry: ImageInstances) -> int:
    """What the photo will take in memory, by the file's header; 0 if it has none, which reading it will say."""
    try:
        height, width = image_size(paths[entry.image.id])
    except InputError:
        return 0
    return 3 * height * width


def _prepare_image(
    refiner: Refiner,
    reader: PhotoReader,
    paths: dict[int | str, Path],
    layout: Layout | None,
    skip_bad: bool,
    entry: ImageInstances,
) -> _Prepared:
    """Read one image and cut its instances into patches."""
    try:
        with refiner.timing("read photo"):
            image_HWC = reader.read(paths[entry.image.id], entry.image, entry.instances)
    except InputError as error:
        if not skip_bad:
            raise
        return _Prepared([], Skipped(images=1, instances=len(entry.instances), lines=(str(error),)))
    height, width = image_HWC.shape[:2]
    with refiner.timing("decode"):
        masks, skipped = decode_masks(entry.instances, height, width, skip_bad)
    used = [entry.instances[place] for place in masks]
    indices, scores = [instance.index for instance in used], [instance.score for instance in used]
    looks = list(refiner.first_looks(indices, image_HWC, list(masks.values()), scores, layout is not None))
    if layout is None or not looks:
        return _Prepared(looks, skipped)
    void = None if entry.void is None else decode_mask(entry.void, height, width)
    return _Prepared(looks, skipped, Contest(scores, layout, void))


def _encode(refiner: Refiner, refined: Refined) -> tuple[Refined, RLE]:
    with refiner.timing("encode"):
        return refined, encode_rle(refined.mask)
