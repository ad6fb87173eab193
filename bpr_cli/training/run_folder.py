"""The folder of a training run: what it was made from, its log, its state, its best weights.

run.json     recipe, patches, versions, device
log.jsonl    a line every so many steps, and one for each validation
last.pt      everything needed to go on exactly where the run stopped
best/        the weights that validated best: what `--model RUN` loads
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import bpr_cli
from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.training.recipe import Recipe


def open_run(folder: Path, recipe: Recipe, patches: Mapping[str, Any], device: str, resume: bool) -> None:
    """Make the run's folder, or check that what is there is the same run.

    Args:
        folder: the run's folder.
        recipe: how the network is trained.
        patches: shard folder -> its manifest.
        device: for the record.
        resume: whether an existing run may be continued.

    Raises:
        InputError: a run is there and `resume` is off, or it was made with other settings.
    """
    description = {
        "recipe": asdict(recipe),
        "patches": dict(patches),
        "device": device,
        "versions": {
            "bpr": bpr_cli.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
    }
    path = folder / "run.json"
    if path.exists():
        if not resume:
            raise InputError(
                "a run is there already",
                file=folder,
                remedy="Continue it with --resume, or choose another -o",
            )
        _check_same(json.loads(path.read_text()), description, folder)
        return
    ensure_folder(folder)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(description, indent=2))


def _check_same(there: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    before, after = there["recipe"], json.loads(json.dumps(now["recipe"]))
    changed = [f"{key} {before.get(key)} -> {after.get(key)}" for key in after if before.get(key) != after.get(key)]
    if there["patches"] != json.loads(json.dumps(now["patches"])):
        changed.append("other patches")
    if changed:
        raise InputError(
            f"the run there was made with other settings ({'; '.join(changed)})",
            file=folder,
            remedy="Give the same settings to continue it, or choose another -o",
        )


class RunLog:
    """log.jsonl, cut back to the step from which the run goes on."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self.path = folder / "log.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if _step_of(line) <= first_step]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept))

    def write(self, row: Mapping[str, Any]) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")  # the line that a kill cut short


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace last.pt as one step, so that a kill leaves the former state."""
    with replacing(folder / "last.pt") as temporary:
        torch.save(dict(state), temporary)


def load_state(folder: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, on the CPU; None if the run never got that far."""
    path = folder / "last.pt"
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            "the saved state cannot be read", file=path, remedy="Remove it to begin the run again"
        ) from error
