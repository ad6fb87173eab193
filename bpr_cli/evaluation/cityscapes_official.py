"""The Cityscapes benchmark's own AP, counted by its script (package cityscapesscripts)."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import tempfile
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bpr_cli.errors import InputError, to_install
from bpr_cli.evaluation.figures import mean
from bpr_cli.formats import cityscapes
from bpr_cli.formats.mask_images import encode_png
from bpr_cli.formats.records import Results
from bpr_cli.formats.segmentation import decode_mask


@dataclass(frozen=True, slots=True)
class OfficialPrecision:
    """AP over IoU .50:.05:.95 and at .50, each 0..1, NaN without such objects; and both by class name."""

    ap: float
    ap50: float
    classes: Mapping[str, tuple[float, float]]


def official_precision(results: Results, truth: Results) -> OfficialPrecision:
    """Score results by the benchmark's script, on any part of its images.

    The script keeps ground truth in a file of its own that holds absolute paths, writes into the working directory,
    and breaks where a class has predictions but none that counts. So its steps are called one by one, without the
    file, and each class at each threshold alone.

    Args:
        results: with label ids and image names as in the ground truth (`cityscapes.with_label_ids`).
        truth: read from a folder of `*_instanceIds.png`.

    Raises:
        InputError: cityscapesscripts is not installed, or the truth has labels that it does not know.
    """
    script, instances_of = _script()
    with tempfile.TemporaryDirectory(prefix="bpr-cityscapes-") as folder:
        predictions = _write_predictions(results, truth, Path(folder))
        names = [entry.image.fields[cityscapes.TRUTH_PATH] for entry in truth.images]
        args = types.SimpleNamespace(**vars(script.args))
        args.predictionPath, args.quiet = str(Path(folder).resolve()), True
        script.setInstanceLabels(args)
        with contextlib.redirect_stdout(io.StringIO()):
            objects = {key: value for name in names for key, value in _objects(instances_of, name).items()}
            matches = script.matchGtWithPreds(predictions, names, objects, args)
        labels = list(args.instLabels)
        overlaps = script.args.overlaps
        found = {label: [_class_precision(script, matches, args, label, step) for step in overlaps] for label in labels}
    classes = {label: (_mean(values), values[0]) for label, values in found.items()}
    return OfficialPrecision(
        _mean([value for values in found.values() for value in values]),
        _mean([values[0] for values in found.values()]),
        classes,
    )


def _script() -> tuple[Any, Any]:
    try:
        from cityscapesscripts.evaluation.instances2dict import instances2dict

        script = importlib.import_module("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    except ImportError as error:
        raise InputError(
            "Cityscapes' own AP needs the package cityscapesscripts", remedy=to_install("cityscapes")
        ) from error
    if not hasattr(np, "in1d"):
        # The script calls numpy.in1d, which numpy 2.4 dropped; isin is the same with another name.
        vars(script)["np"] = types.SimpleNamespace(**{**vars(np), "in1d": np.isin})
    return script, instances2dict


def _objects(instances_of: Any, name: str) -> Mapping[str, Any]:
    """An image's true objects, as the script keeps them."""
    try:
        return instances_of([name], False)
    except KeyError as error:
        raise InputError(
            f"the label id {error} is none of Cityscapes'", file=name, remedy="Give Cityscapes' own *_instanceIds.png"
        ) from error


def _write_predictions(results: Results, truth: Results, folder: Path) -> list[str]:
    """The results as the script reads them, a text file for each image of the ground truth."""
    found = {entry.image.id: entry.instances for entry in results.images}
    paths = []
    for entry in truth.images:
        height, width = entry.image.height or 0, entry.image.width or 0
        lines = []
        for instance in found.get(entry.image.id, ()):
            name = f"{instance.index}.png"
            (folder / name).write_bytes(encode_png(decode_mask(instance, height, width)))
            lines.append(f"{name} {instance.category_id} {instance.score!r}\n")
        path = folder / f"{entry.image.id}_pred.txt"
        path.write_text("".join(lines), encoding="utf-8")
        paths.append(str(path.resolve()))
    return paths


def _class_precision(script: Any, matches: Any, args: Any, label: str, overlap: float) -> float:
    """AP of one class at one threshold; NaN without objects."""
    one = types.SimpleNamespace(**{**vars(args), "instLabels": [label], "overlaps": np.array([overlap])})
    try:
        return float(script.evaluateMatches(matches, one)[0, 0, 0])
    except IndexError:  # objects and predictions, but every prediction lies on what is ignored: nothing was found
        return 0.0


def _mean(values: list[float]) -> float:
    return mean([value for value in values if not math.isnan(value)])
