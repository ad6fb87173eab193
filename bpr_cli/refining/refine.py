"""`bpr refine`: a results file and a folder of photos in, the same results with better boundaries out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bpr_cli.comparing.comparison import Comparison
from bpr_cli.errors import refuse_beside
from bpr_cli.files import PathLike, as_path, as_paths, fingerprint
from bpr_cli.formats import check_output, coco, holds_parts
from bpr_cli.formats.images import PhotoReader
from bpr_cli.formats.records import MaskForm
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.refining.parts import check_parts, refine_parts
from bpr_cli.refining.photos import Photos
from bpr_cli.refining.refinement import Input, InputReader, Refinement, RefineSummary
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import DEFAULT_SPEED, NameOrPath, choose_settings
from bpr_cli.stores.staging import with_stores

_DEFAULTS = {"speed": DEFAULT_SPEED, "device": "auto", "precision": "auto", "engine": "auto"}


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
        input: COCO results list or dataset dict (JSON); a folder of parts, each a results list, of which one is in
            memory at a time; any other input of examples/FORMATS.md; with `masks`, a photo.
        output: file for the refined results, in the input's form; a folder where the input is one, or with `masks`.
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
    read = InputReader(
        Photos(None if images is None else as_paths(images, "images")),
        None if image_info is None else coco.read_image_info(as_path(image_info, "image_info")),
        mask_form,
        skip_bad,
        max_pixels,
    )
    page = None if report is None else as_path(report, "report")
    figures = None if json_file is None else as_path(json_file, "json_file")
    # What can be known to fail is found out before the model is loaded and the work begins.
    prepared: Input | list[Path]
    if not mask_paths and holds_parts(path):
        refuse_beside("a folder of parts (bpr compare looks at both folders)", report=report, json_file=json_file)
        prepared = check_parts(path, output, read)
    else:
        results = read(path, mask_paths)
        check_output(results, output)
        if page is not None or figures is not None:
            _check_outputs(figures, page, [path, *mask_paths], output)
        prepared = read.with_photos(results)
    refinement = Refinement(
        model if isinstance(model, Refiner) else Refiner.from_pretrained(model, device, precision, settings, engine),
        PhotoReader(orientation, max_pixels),
        image_info=None if read.image_info is None else fingerprint(read.image_info.path).sha256,
        mask_form=mask_form,
        exclusive=exclusive,
        skip_bad=skip_bad,
        look=None if page is None and figures is None else partial(_write_look, figures, page, quiet),
        quiet=quiet,
    )
    if isinstance(prepared, Input):
        return refinement(prepared, output)
    return refine_parts(prepared, output, read, refinement)


def _check_outputs(json_file: Path | None, report: Path | None, inputs: Sequence[Path], output: Path) -> None:
    """Make sure that what is told of the changes can be written, and that it is none of the inputs nor the output."""
    from bpr_cli.report.outputs import check_outputs  # with what draws pages, which few ask for

    check_outputs(json_file, report, inputs, output=output)


def _write_look(json_file: Path | None, report: Path | None, quiet: bool, comparison: Comparison) -> None:
    from bpr_cli.report.changes_json import write_changes_json
    from bpr_cli.report.changes_page import write_changes_page

    if json_file is not None:
        write_changes_json(comparison, json_file)
    if report is not None:
        write_changes_page(comparison, report, quiet=quiet)
