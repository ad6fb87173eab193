"""`bpr refine`: a results file and a folder of photos in, the same results with better boundaries out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from bpr_cli import __version__
from bpr_cli.comparing.comparison import Comparison
from bpr_cli.errors import InputError, refuse_beside
from bpr_cli.files import PathLike, as_path, as_paths, fingerprint
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
from bpr_cli.formats.images import PhotoReader
from bpr_cli.formats.records import MaskForm, Results, Skipped
from bpr_cli.formats.rle import RLE
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import warn_of_input
from bpr_cli.progress import progress_bar
from bpr_cli.refining.blocks import BlockRefiner, RefinedBlock, photo_states, split_into_blocks
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import DEFAULT_SPEED, NameOrPath, choose_settings
from bpr_cli.refining.watch import Watch
from bpr_cli.stores.staging import with_stores
from bpr_cli.unfinished import Unfinished

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


@with_stores(inputs=("input", "image_info", "masks"), photos=("images",), outputs=("output", "report", "json_file"))
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
    work = BlockRefiner(
        refiner,
        reader,
        layout=results.layout if exclusive or results.layout != "masks" else None,
        keeps_drawn=not skip_bad and mask_form == "same",
        skip_bad=skip_bad,
        watches=page is not None or figures is not None,
    )
    inputs = [path, *([] if image_info is None else [as_path(image_info, "image_info")])]
    with _unfinished(work, results, inputs, output, mask_form) as unfinished:
        segmentations: list[RLE | None] = [None] * results.count
        watch, skipped = Watch(results.count), [results.skipped, missing]
        changed = patches = 0
        for block in _refine_blocks(work, results, paths, unfinished, quiet):
            for index, rle in block.masks.items():
                segmentations[index] = rle
            watch.add(block.changes, block.refusals)
            skipped.append(block.skipped)
            changed, patches = changed + block.changed, patches + block.patches
            for text, file in block.notices:
                warn_of_input(text, file)
        with refiner.timing("write"):
            write_results(results, segmentations, output)
        if work.watches:
            comparison = watch.comparison(results, segmentations, paths, reader, _facts(path, output, refiner))
            _write_look(comparison, figures, page, quiet)
    return RefineSummary(results.count, changed, patches, Skipped.joined(skipped), refiner.engine)


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


def _refine_blocks(
    work: BlockRefiner,
    results: Results,
    paths: dict[int | str, Path],
    unfinished: Unfinished | None,
    quiet: bool,
) -> Iterator[RefinedBlock]:
    """What became of each block of images, in order; those that `unfinished` keeps are not refined again."""
    entries = [entry for entry in results.images if entry.image.id in paths]
    with progress_bar(sum(len(entry.instances) for entry in entries), "refine", "instance", quiet=quiet) as bar:
        for number, block in enumerate(split_into_blocks(entries)):
            kept = None if unfinished is None else unfinished.read(number)
            if kept is not None and kept["photos"] == photo_states(block, paths):
                bar.update(sum(len(entry.instances) for entry in block))
                yield RefinedBlock.from_json(kept)
                continue
            refined = work(block, paths, bar.update)
            if unfinished is not None:
                unfinished.write(number, refined.as_json())
            yield refined


def _unfinished(
    work: BlockRefiner, results: Results, inputs: Sequence[Path], output: Path, mask_form: MaskForm
) -> AbstractContextManager[Unfinished | None]:
    """Where finished blocks are kept; None where there is but one, or the models are not known by their files."""
    keys = [network.key for network in work.refiner.networks]
    if not all(keys) or sum(1 for _ in split_into_blocks(results.images)) < 2:
        return nullcontext()
    made_from = {
        "version": __version__,
        **{name: fingerprint(path).sha256 for name, path in zip(("input", "image info"), inputs, strict=False)},
        **{f"model of pass {number}": key for number, key in enumerate(keys, 1)},
        "engine": work.refiner.engine,
        **asdict(work.refiner.settings),
        "batch_size": work.refiner.batch_size,
        **asdict(work.reader),
        "mask_form": mask_form,
        "layout": work.layout,
        "skip_bad": work.skip_bad,
        "report": work.watches,
    }
    return Unfinished(output, made_from)


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
