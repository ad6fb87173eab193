"""Small real data that many tests share: the bundled example."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bpr_cli import app
from bpr_cli.extraction.extract import extract
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.network import checkpoint, hrnet
from bpr_cli.network.config import ModelConfig
from bpr_cli.processes import ENDING_SIGNALS

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Example:
    """The bundled photos with detections and ground truth."""

    images: Path
    gt: Path
    results: Path
    results_native: Path


@pytest.fixture(scope="session", autouse=True)
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted networks go to a folder of the tests', which all their processes share."""
    with pytest.MonkeyPatch.context() as patched:
        base = tmp_path_factory.getbasetemp()
        patched.setenv("TORCH_HOME", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "torch"))
        yield


@pytest.fixture(scope="session")
def example() -> Example:
    folder = ROOT / "examples" / "davis"
    return Example(folder / "images", folder / "gt.json", folder / "results.json", folder / "results_native.json")


@pytest.fixture(scope="session")
def three_photos(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The example cut down to three photos, of three sequences."""
    folder = tmp_path_factory.mktemp("three")
    gt = json.loads(example.gt.read_text())
    first_of = {image["sequence"]: image for image in reversed(gt["images"])}
    images = list(first_of.values())[:3]
    ids = {image["id"] for image in images}
    gt["images"] = images
    gt["annotations"] = [a for a in gt["annotations"] if a["image_id"] in ids]
    (folder / "gt.json").write_text(json.dumps(gt))
    paths = []
    for path in (example.results, example.results_native):
        kept = [r for r in json.loads(path.read_text()) if r["image_id"] in ids]
        (folder / path.name).write_text(json.dumps(kept))
        paths.append(folder / path.name)
    return Example(example.images, folder / "gt.json", *paths)


@pytest.fixture(scope="session")
def shard_folder(three_photos: Example, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of three photos: two in train, one in val."""
    folder = tmp_path_factory.mktemp("shards")
    settings = ExtractionSettings(val_fraction=0.34, split_by="sequence")
    extract(three_photos.images, three_photos.gt, folder, results=[three_photos.results], settings=settings, quiet=True)
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded random weights: what this model answers does not matter, only what becomes of it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    checkpoint.save(folder, hrnet.build("hrnet-w18-small"), ModelConfig(input_size=64))
    return folder


AS_TESTED = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}  # what is printed does not depend on the terminal


def run_bpr(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line from its entry point, in this process: one of its own takes seconds to begin."""
    said, complained = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(said), redirect_stderr(complained):
        patched.setattr(sys, "argv", ["bpr", *map(str, arguments)])
        for name, value in AS_TESTED.items():
            patched.setenv(name, value)
        if cwd is not None:
            patched.chdir(cwd)
        try:
            with pytest.raises(SystemExit) as ended:
                app.main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    code = ended.value.code
    assert isinstance(code, int)
    if code - 128 in ENDING_SIGNALS:  # it was meant for the tests
        raise KeyboardInterrupt
    return subprocess.CompletedProcess(["bpr", *map(str, arguments)], code, said.getvalue(), complained.getvalue())


def run_bpr_process(
    *arguments: object, cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bpr_cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", **AS_TESTED},
        check=False,
    )
