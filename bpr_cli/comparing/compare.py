"""`bpr compare`: two results files of the same detections, before and after, without ground truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from bpr_cli.comparing.changes import Changes, change_between
from bpr_cli.comparing.comparison import Comparison, FindPhoto
from bpr_cli.errors import InputError
from bpr_cli.evaluation.checks import is_same_detection
from bpr_cli.files import PathLike, as_path
from bpr_cli.formats import coco, read_results
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.image_files import check_pixels
from bpr_cli.formats.images import PhotoReader, image_size
from bpr_cli.formats.orientation import stated_sizes
from bpr_cli.formats.records import ImageInstances, Instance, Results
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.progress import progress_bar

SAME_FILE = "Give the very file that was refined, and what came of it"


def compare(
    before: PathLike,
    after: PathLike,
    *,
    images: PathLike | None = None,
    image_info: PathLike | None = None,
    orientation: str = "exif",
    max_pixels: int = MAX_PIXELS,
    skip_bad: bool = False,
    quiet: bool = False,
) -> Comparison:
    """Compare the masks of two files of the same detections, one pair at a time.

    Args:
        before, after: COCO results or datasets, or Cityscapes results folders, in one order.
        image_info: COCO JSON with the images' file names, sizes and classes.
        images: folder of the photos: for a report's pictures, and for sizes that no file states.
        orientation: which way up photos are where neither sizes nor masks tell: "exif" or "stored" (`read_image`).
        max_pixels: larger images are refused.
        skip_bad: leave out masks that cannot be used, and name them in `Comparison.skipped`.
        quiet: no progress bar.

    Raises:
        InputError: bad input; other detections; an image whose size nothing tells.
    """
    first = read_results(as_path(before, "before"), max_pixels, skip_bad=skip_bad)
    last = read_results(as_path(after, "after"), max_pixels, skip_bad=skip_bad)
    if image_info is not None:
        first = coco.with_image_info(first, coco.read_image_info(as_path(image_info, "image_info")))
    after_by_index = _pair(first, last, skip_bad)
    changes = Changes(first.count)
    skipped = [*first.skipped.lines, *last.skipped.lines]
    find_photo = None if images is None else ImageFinder(as_path(images, "images")).find
    reader = PhotoReader(orientation, max_pixels)
    with progress_bar(len(first.images), "compare masks", "image", quiet=quiet) as bar:
        for entry in first.images:
            frame_size = cache(partial(_checked_size, entry, first, find_photo, reader))
            skipped += _compare_image(entry, after_by_index, changes, frame_size, skip_bad)
            bar.update()
    facts = [("before", first.path.name), ("after", last.path.name)]
    return Comparison(
        first,
        lambda instance: after_by_index[instance.index],
        changes,
        find_photo,
        reader,
        knows_refusals=False,
        facts=facts,
        skipped=skipped,
    )


def _compare_image(
    entry: ImageInstances,
    after: Mapping[int, Instance],
    changes: Changes,
    frame_size: Callable[[], tuple[int, int]],
    skip_bad: bool,
) -> list[str]:
    """Count the detections of one image; a line for each thing that was skipped."""
    skipped: list[str] = []
    for old in entry.instances:
        if old.index not in after:
            continue
        bad: list[str] | None = [] if skip_bad else None
        try:
            size = frame_size()
            change = change_between(decode_mask(old, *size, bad), decode_mask(after[old.index], *size, bad))
            changes.put(old.index, change)
        except InputError as error:
            if not skip_bad:
                raise
            skipped.append(str(error))
        else:
            skipped += bad or ()
    return skipped


def _pair(before: Results, after: Results, skip_bad: bool) -> dict[int, Instance]:
    """The instances of `after` by index; InputError unless both files hold the same detections."""
    if before.count != after.count:
        raise InputError(
            f"it holds {after.count} detections, {before.path} holds {before.count}", file=after.path, remedy=SAME_FILE
        )
    by_index = {instance.index: instance for entry in after.images for instance in entry.instances}
    for entry in before.images:
        for old in entry.instances:
            new = by_index.get(old.index)
            if new is None and skip_bad:
                continue
            if new is None or not is_same_detection(old, new):
                raise InputError(
                    f"it is not the detection at this place in {before.path}",
                    file=after.path,
                    image_id=old.image_id if new is None else new.image_id,
                    index=old.index,
                    remedy=f"{SAME_FILE}, in the same order",
                )
    return by_index


def _checked_size(
    entry: ImageInstances, results: Results, find_photo: FindPhoto | None, reader: PhotoReader
) -> tuple[int, int]:
    """`_frame_size`; InputError where that is more pixels than are read."""
    size = _frame_size(entry, results, find_photo, reader)
    check_pixels(*size, reader.max_pixels, results.path, entry.image.id)
    return size


def _frame_size(
    entry: ImageInstances, results: Results, find_photo: FindPhoto | None, reader: PhotoReader
) -> tuple[int, int]:
    """Height and width of an image: as stated, else of its masks, else of its photo."""
    if entry.image.height and entry.image.width:
        return entry.image.height, entry.image.width
    for size in stated_sizes(entry.instances):
        return size
    for instance in entry.instances:
        if isinstance(instance.segmentation, Path):
            return image_size(instance.segmentation)
    if find_photo is None:
        raise InputError(
            "nothing states the image's size",
            file=results.path,
            image_id=entry.image.id,
            remedy="Give the photos with --images, or a COCO JSON of the images with --image-info",
        )
    height, width = reader.read(find_photo(entry.image), entry.image, entry.instances).shape[:2]
    return height, width
