"""Runs one cell by what is behind `bpr extract`, `bpr train` and `bpr refine`, and keeps what it found as JSON.

Patches and runs lie in a working folder, each under a name made of its settings: cells share them, and a killed
training goes on. What is committed is the cells' JSON alone; a cell whose settings, data, budget and seed are those
asked for is not run again, and needs no weights.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from cells import BY_SLUG, Cell, Training
from data_sets import DataSet
from measuring import bounds_of, compare, draws_of, figures_of, plain

from bpr_cli import ExtractionSettings, RefineSettings, choose_recipe, evaluate, extract, refine, train
from bpr_cli.benchmark.machine import machine_facts
from bpr_cli.files import ensure_folder, replacing

ROOT = Path(__file__).resolve().parents[3]
BASELINES = ROOT / "examples" / "baselines.py"
BATCH = 8  # patches a step; the paper has 32 and a thousand times as many patches
SAVE_EVERY = 25  # steps


@dataclass(frozen=True, slots=True)
class Budget:
    """What each training gets: patches seen, and the seed of weights, order and augmentation."""

    patches: int
    seed: int

    @property
    def steps(self) -> int:
        """Of the optimiser."""
        return max(1, self.patches // BATCH)


@dataclass(frozen=True, slots=True)
class Runner:
    """Fills the cells of one data set.

    Attributes:
        data: what to train and measure on.
        budget: of each training.
        cells: folder of the finished cells' JSON.
        work: folder for patches, runs and refined masks.
        precision: of trainings, as in `bpr train`.
    """

    data: DataSet
    budget: Budget
    cells: Path
    work: Path
    precision: str = "auto"

    def fill(self, cell: Cell, digest: str) -> bool:
        """Run a cell unless it is kept already; whether it ran. `digest` is that of the data."""
        identity = self.identity(cell, digest)
        path = self.cells / f"{cell.slug}.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8"))["identity"] == identity:
            return False
        record = {"identity": identity, "commands": self.commands(cell), **self._run(cell)}
        ensure_folder(self.cells)
        with replacing(path) as temporary:
            # A line a field: draws of a thousand numbers are not for reading.
            lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
            temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        return True

    def identity(self, cell: Cell, digest: str) -> dict[str, Any]:
        """All that decides a cell's figures."""
        trained = cell.training is not None
        return {
            "data": self.data.name,
            "digest": digest,
            "way": cell.way,
            "training": asdict(cell.training) if cell.training else None,
            "budget": {**asdict(self.budget), "batch": BATCH} if trained else None,
            "nms_threshold": cell.nms_threshold if trained else None,
            "form": cell.form,
        }

    def commands(self, cell: Cell) -> list[str]:
        """The same as commands."""
        form = self.data.forms[cell.form]
        if cell.way == "coarse":
            return []
        if cell.way == "grabcut":
            return [f"python examples/baselines.py grabcut {form.val.name} -o refined.json"]
        if cell.training is None:
            return [f"bpr refine {form.val.name} -o refined.json"]
        training, budget = cell.training, self.budget
        return [
            f"bpr extract --results {self.data.forms[training.form].train.name} --patch-size {training.patch_size} "
            f"--padding {training.padding} --scheme {training.scheme} --val-fraction 0",
            f"bpr train --recipe {training.recipe} --network {training.network} --input-size {training.input_size} "
            f"--steps {budget.steps} --batch-size {BATCH} --seed {budget.seed}"
            + ("" if training.mask_patch else " --no-mask-patch"),
            f"bpr refine {form.val.name} -o refined.json --scheme {training.scheme} --nms-threshold "
            f"{cell.nms_threshold} --passes 1 --no-flips --blend uniform --caution 0",
        ]

    def _run(self, cell: Cell) -> dict[str, Any]:
        form, start = self.data.forms[cell.form], time.perf_counter()
        record: dict[str, Any] = {}
        output = form.val
        if cell.way != "coarse":
            output = self.work / "refined" / (cell.slug + form.val.suffix)
            ensure_folder(output.parent)
            record = self._refine(cell, form.val, output)
        bounds = cell.way == "coarse"
        compared = compare(self.data, output, form.val, bounds=bounds)
        views = {"all": compared}
        if self.data.unseen is not None:
            views["unseen"] = compared.of(self.data.unseen)
        record["views"] = {
            name: {"figures": plain(figures_of(view)), "draws": draws_of(view, bounds=bounds)}
            for name, view in views.items()
        }
        if bounds:
            record["bounds"] = {radius: plain(figures) for radius, figures in bounds_of(compared).items()}
        if self.data.official is not None and cell in OFFICIAL:
            record["official"] = self._official(output)
        if cell.slug == BASE.slug:
            changes = [change for image in compared.images for change in image.changes]
            record["changes"] = [[round(each.iou_before, 4), round(each.iou_after, 4)] for each in changes]
        images = len(compared.images)
        record |= {"images": images, "objects": sum(len(image.objects) for image in compared.images)}
        record["minutes"] = round((time.perf_counter() - start) / 60, 2)
        record["machine"] = machine_facts(torch.device("cpu"))
        return record

    def _refine(self, cell: Cell, results: Path, output: Path) -> dict[str, Any]:
        info = self.data.gt_val if self.data.gt_val.is_file() else None
        images = self.data.images_val
        if cell.way == "grabcut":
            command = [sys.executable, str(BASELINES), "grabcut", str(results), "-o", str(output)]
            given = [] if info is None else ["--image-info", str(info)]
            subprocess.run([*command, "--images", str(images), *given], check=True)
            return {}
        settings, model = None, None
        record: dict[str, Any] = {}
        if cell.training is not None:
            model, record = self._train(cell.training)
            settings = RefineSettings(
                nms_threshold=cell.nms_threshold,
                scheme=cell.training.scheme,
                flips=False,
                blend="uniform",
                caution=0.0,
                passes=1,
            )
        done = refine(results, output, images=images, image_info=info, model=model, settings=settings, quiet=True)
        return {**record, "patches": done.patches, "refined_by": done.engine}

    def _train(self, training: Training) -> tuple[Path, dict[str, Any]]:
        shards = self._shards(training)
        name = _name({**asdict(training), **asdict(self.budget), "batch": BATCH})
        run = self.work / "runs" / name
        recipe = choose_recipe(
            training.recipe,
            network=training.network,
            input_size=training.input_size,
            mask_patch=training.mask_patch,
            steps=self.budget.steps,
            batch_size=BATCH,
            seed=self.budget.seed,
        )
        done = train(
            shards,
            run,
            recipe,
            precision=self.precision,
            workers=0,
            save_every=SAVE_EVERY,
            resume=True,
            quiet=True,
        )
        return run, {"trained_in": done.precision, "training_seconds": round(_seconds(run), 1)}

    def _shards(self, training: Training) -> Path:
        form = self.data.forms[training.form]
        settings = ExtractionSettings(
            patch_size=training.patch_size, padding=training.padding, scheme=training.scheme, val_fraction=0.0
        )
        shards = self.work / "shards" / _name({**asdict(settings), "form": training.form})
        extract(self.data.images_train, self.data.gt_train, shards, results=[form.train], settings=settings, quiet=True)
        return shards

    def _official(self, output: Path) -> dict[str, Any]:
        """AP by Cityscapes' own script, of all classes and of each."""
        info = self.data.gt_val if self.data.gt_val.is_file() else None
        assert self.data.official is not None
        scored = evaluate(output, self.data.official, image_info=info, quiet=True).scored
        classes = {name: ap for name, (ap, _) in scored.cityscapes_classes.items()}
        total = {"ap": scored.figures.cityscapes_ap, "ap50": scored.figures.cityscapes_ap50}
        return {**plain(total), "classes": plain(classes)}


BASE = BY_SLUG["base"]
OFFICIAL = tuple(BY_SLUG[slug] for slug in ("coarse", "base", "nms-55", "grabcut", "shipped", "our-recipe"))


def _name(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def _seconds(run: Path) -> float:
    """Time of all steps of a run, by its log; what was lost by being killed isn't counted."""
    seconds, last = 0.0, 0
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "train":
            seconds += (row["step"] - last) * BATCH / row["patches_per_second"]
            last = row["step"]
    return seconds
