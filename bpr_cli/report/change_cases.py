"""The detections that a look without ground truth shows: which they are, and their pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpr_cli.comparing.changes import Fate
from bpr_cli.comparing.comparison import Comparison
from bpr_cli.errors import InputError
from bpr_cli.formats.records import ImageInstances, Instance
from bpr_cli.formats.rle import decode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import Mask, intersection_over_union
from bpr_cli.progress import progress_bar
from bpr_cli.report.cases import SHOWN, draw

MOST_PICTURE_BYTES = 5 << 20  # of all pictures of a page: some 70 of the usual size
SEED = 0  # of what is drawn by chance


@dataclass(frozen=True, slots=True)
class ChangeCase:
    """A detection to show.

    Attributes:
        kind: "most", "some" (of those changed, by chance), "refused" or "unchanged".
        iou: of the masks before and after; of a refused one, of the mask and what was refused.
        pixels: foreground in one of these two alone.
    """

    kind: str
    image_id: int | str
    index: int
    category_id: int | None
    iou: float
    pixels: int


def choose(comparison: Comparison, shown: int = SHOWN) -> list[tuple[str, int]]:
    """Kind and index of the detections to show: those that changed most, some of those changed, and those that stayed.

    Those that stayed are the ones of which most was refused; where that is not known, some of the unchanged.
    """
    changes = comparison.changes
    changed = changes.of(Fate.CHANGED)
    most = changed[np.argsort(changes.ious()[changed], kind="stable")[:shown]]
    parts = {"most": most, "some": _some(np.setdiff1d(changed, most), shown)}
    if comparison.knows_refusals:
        parts["refused"] = np.array(list(comparison.refused)[:shown], np.int64)
    else:
        parts["unchanged"] = _some(changes.of(Fate.UNCHANGED), shown)
    return [(kind, index) for kind, indices in parts.items() for index in indices.tolist()]


def _some(indices: NDArray[np.int64], shown: int) -> NDArray[np.int64]:
    drawn = np.random.default_rng(SEED).choice(indices, min(shown, len(indices)), replace=False)
    return np.asarray(np.sort(drawn), np.int64)


def pictures(comparison: Comparison, skip_bad: bool, quiet: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """The cases with their pictures, JSON-ready, as many as MOST_PICTURE_BYTES hold; and what was skipped.

    Photos are read one at a time.

    Raises:
        InputError: a photo of a case is missing or broken, unless bad ones are skipped.
    """
    chosen = choose(comparison)
    wanted = {index for _, index in chosen}
    found: dict[int, tuple[ImageInstances, Instance]] = {
        instance.index: (entry, instance)
        for entry in comparison.before.images
        for instance in entry.instances
        if instance.index in wanted
    }
    shown: list[dict[str, Any]] = []
    skipped = []
    room = MOST_PICTURE_BYTES
    with progress_bar(len(chosen), "report", "picture", quiet=quiet) as bar:
        for kind, index in chosen:
            bar.update()
            try:
                case = _case(comparison, kind, *found[index])
            except InputError as error:
                if not skip_bad:
                    raise
                skipped.append(str(error))
                continue
            size = len(json.dumps(case))
            if size <= room:
                shown.append(case)
                room -= size
    return shown, skipped


def _case(comparison: Comparison, kind: str, entry: ImageInstances, instance: Instance) -> dict[str, Any]:
    assert comparison.find_photo is not None
    image_HWC = comparison.reader.read(comparison.find_photo(entry.image), entry.image, entry.instances)
    masks = _masks(comparison, kind, instance, *image_HWC.shape[:2])
    before, after = masks["before"], masks["after"]
    iou = intersection_over_union(before, after) if before.area or after.area else 1.0
    both = before.area + after.area
    pixels = round(both * (1 - iou) / (1 + iou))  # the union less what both share
    case = ChangeCase(kind, entry.image.id, instance.index, instance.category_id, iou, pixels)
    return {**asdict(case), **draw(image_HWC, masks)}


def _masks(comparison: Comparison, kind: str, instance: Instance, height: int, width: int) -> Mapping[str, Mask]:
    """The masks on either side of the slider; bad polygons were named when the masks were compared."""
    before = decode_mask(instance, height, width, [])
    if kind == "refused":
        return {"before": before, "after": decode_rle(comparison.refused[instance.index])}
    return {"before": before, "after": decode_mask(comparison.after(instance), height, width, [])}
