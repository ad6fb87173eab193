"""What the trials share: the commands they disturb, how these are run, and how outputs are compared."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
Box = tuple[int, int, int, int]  # x1 y1 x2 y2
DAVIS = ROOT / "examples" / "davis"
SEQUENCES = ("blackswan_00012.jpg", "car-roundabout_00012.jpg", "goat_00018.jpg")

TOKEN = "BPR_TRIAL"  # environment variable by which an attempt's processes are known
GRACE = 15.0  # seconds in which the workers of a process that is gone must be gone too
LIMIT = 600.0  # seconds that a command may take
PIECES, SIDE = 600, 96  # photos cut from those of the example, and their side in pixels
POLL = 0.002  # seconds between looks at what a command has written

_DETECTIONS = ("in/results.json", "--images", "in/photos")
_MANY = ("in/many.json", "--images", "in/many")
_EXACT = ("--engine", "openvino", "--precision", "fp32")
COMMANDS = {
    "refine": ("refine", *_DETECTIONS, "-o", "out/refined.json", "--speed", "fast", "-q"),
    "refine of several blocks": ("refine", *_MANY, "-o", "out/many.json", "--speed", "fast", "-q"),
    "refine of masks": (
        *("refine", "in/photos/17.jpg", "--mask", "in/first.png", "--mask", "in/second.png"),
        *("-o", "out/masks", "--speed", "fast", "-q"),
    ),
    "refine, converting its network": (
        "refine",
        *_DETECTIONS,
        "-o",
        "out/refined.json",
        "--speed",
        "fast",
        *_EXACT,
        "-q",
    ),
    "extract": (
        *("extract", "--images", "in/photos", "--gt", "in/gt.json", "--results", "in/results.json"),
        *("--val-fraction", "0.4", "--processes", "2", "-o", "out/shards", "-q"),
    ),
    "train": (
        *("train", "--patches", "in/shards", "-o", "out/run", "--resume", "--steps", "8", "--batch-size", "4"),
        *("--input-size", "32", "--validate-every", "4", "--save-every", "2", "--precision", "fp32", "-q"),
    ),
    "evaluate --report": (
        *("evaluate", "in/results.json", "--gt", "in/gt.json", "--baseline", "in/results.json"),
        *("--images", "in/photos", "--report", "out/report", "--json", "out/figures.json", "-q"),
    ),
    "evaluate of several blocks": (
        *("evaluate", "in/many.json", "--gt", "in/many-gt.json", "--baseline", "in/many.json"),
        *("--upper-bound", "1,2,3", "--json", "out/figures.json", "-q"),
    ),
    "export": ("export", "--model", "davis-fast", "-o", "out/refiner.xml"),
}


@dataclass(frozen=True)
class Figures:
    """What a trial found, for the page.

    Attributes:
        trial: its name.
        method: what was done, a sentence or two.
        columns, rows: a table; the first column names what was tried.
        tried, lost: over all rows.
        failures: a line each, for those who look for the cause.
    """

    trial: str
    method: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int]]
    tried: int
    lost: int
    failures: Sequence[str] = ()


def make_inputs(folder: Path) -> None:
    """Three photos of the bundled example with objects and detections, masks of one, pieces of all, and shards."""
    _write_photos(folder)
    _write_many(folder)
    with tempfile.TemporaryDirectory(prefix="shards-", dir=folder.parent) as name:
        attempt = Attempt(Path(name, "run"), folder)
        if attempt.run(COMMANDS["extract"]) != 0:
            raise RuntimeError(f"extract fails: {attempt.said}")
        shutil.copytree(attempt.folder / "out/shards", folder / "shards")


def _write_many(folder: Path) -> None:
    """Pieces of the photos, more than two blocks of `refining.blocks`, each with a part of an object and its mask."""
    truth, detections = (json.loads((folder / f"{name}.json").read_text()) for name in ("gt", "results"))
    records = {kind: [] for kind in ("annotations", "detections")}
    rng = random.Random(0)
    (folder / "many").mkdir()
    numbers = range(1, PIECES + 1)
    for number, source in zip(numbers, cycle(truth["annotations"]), strict=False):
        photo = cv2.imread(str(folder / "photos" / f"{source['image_id']}.jpg"))
        x, y, width, height = (int(value) for value in source["bbox"])
        x1 = min(max(0, x + rng.randrange(width) - SIDE // 2), photo.shape[1] - SIDE)
        y1 = min(max(0, y + rng.randrange(height) - SIDE // 2), photo.shape[0] - SIDE)
        here = slice(y1, y1 + SIDE), slice(x1, x1 + SIDE)
        cv2.imwrite(str(folder / "many" / f"{number}.png"), photo[here])
        found = next(item for item in detections if item["image_id"] == source["image_id"])
        for kind, item in (("annotations", source), ("detections", found)):
            mask_HW = np.asfortranarray(coco_mask.decode(item["segmentation"])[here])
            coded = coco_mask.encode(mask_HW)
            record = {"image_id": number, "category_id": item["category_id"], "iscrowd": 0, "id": number}
            record |= {"segmentation": {**coded, "counts": coded["counts"].decode()}, "area": int(mask_HW.sum())}
            record |= {"bbox": coco_mask.toBbox(coded).tolist(), "score": 0.9}
            records[kind].append(record)
    images = [{"id": number, "file_name": f"{number}.png", "height": SIDE, "width": SIDE} for number in numbers]
    truth |= {"images": images, "annotations": records["annotations"]}
    (folder / "many-gt.json").write_text(json.dumps(truth))
    (folder / "many.json").write_text(json.dumps(records["detections"]))


def _write_photos(folder: Path) -> None:
    (folder / "photos").mkdir(parents=True)
    truth, detections = (json.loads((DAVIS / f"{name}.json").read_text()) for name in ("gt", "results"))
    truth["images"] = [image for image in truth["images"] if image["file_name"] in SEQUENCES]
    ids = {image["id"] for image in truth["images"]}
    truth["annotations"] = [annotation for annotation in truth["annotations"] if annotation["image_id"] in ids]
    detections = [detection for detection in detections if detection["image_id"] in ids]
    for image in truth["images"]:
        name = f"{image['id']}.jpg"
        shutil.copyfile(DAVIS / "images" / image["file_name"], folder / "photos" / name)
        image["file_name"] = name
    (folder / "gt.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(detections))
    for name, source in (("first", detections), ("second", truth["annotations"])):
        mask_HW = coco_mask.decode(next(item["segmentation"] for item in source if item["image_id"] == 17))
        cv2.imwrite(str(folder / f"{name}.png"), mask_HW * 255)


class Attempt:
    """One run of a command in a folder of its own, with the inputs in `in` and all it writes in `out` and `cache`.

    Args:
        folder: made if it is not there.
        inputs: what `make_inputs` made.
        stderr: where its stderr goes, for an attempt whose folder may have no room for it.
    """

    def __init__(self, folder: Path, inputs: Path, stderr: Path | None = None) -> None:
        self.folder = folder
        self.stderr = stderr or folder / "stderr"
        for name in ("out", "cache"):
            (folder / name).mkdir(parents=True)
        (folder / "in").symlink_to(inputs)
        self.token = str(folder)

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        """Start `bpr`, as the leader of a process group of its own."""
        environment = {
            **os.environ,
            TOKEN: self.token,
            "PYTHONPATH": str(ROOT),
            "TORCH_HOME": str(self.folder / "cache/torch"),
        }
        environment |= {"COLUMNS": "1000", "NO_COLOR": "1", "TERM": "dumb"}
        return subprocess.Popen(
            [sys.executable, "-m", "bpr_cli", *arguments],
            cwd=self.folder,
            env=environment,
            start_new_session=True,
            # Under nohup and in a script's background the trial, and so its children, would ignore it.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.DEVNULL,
            stderr=self.stderr.open("w"),
            text=True,
        )

    def run(self, arguments: Sequence[str]) -> int:
        """Run `bpr` to its end; the exit code, negative for a signal."""
        return self.start(arguments).wait(LIMIT)

    @property
    def said(self) -> list[str]:
        """Lines of its stderr that are not empty."""
        return [line for line in self.stderr.read_text(errors="replace").splitlines() if line.strip()]

    def names(self) -> frozenset[str]:
        """Paths of all that it has written up to now."""
        return frozenset(
            f"{parent}/{name}"
            for top in ("out", "cache")
            for parent, folders, files in os.walk(self.folder / top)
            for name in (*folders, *files)
        )

    def orphans(self) -> list[int]:
        """Ids of its processes that outlive it; they are ended."""
        until = time.monotonic() + GRACE
        while (left := _marked(self.token)) and time.monotonic() < until:
            time.sleep(0.1)
        for process in left:
            os.kill(process, signal.SIGKILL)
        return left


def _marked(token: str) -> list[int]:
    """Ids of the processes whose environment holds the token (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            gone = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:  # it ended, or is not ours
            continue
        if f"{TOKEN}={token}".encode() in environment.split(b"\0") and not gone:
            found.append(int(folder.name))
    return found


def wait_at_most(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait for some seconds, or for the process' end if that is sooner."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


@dataclass(frozen=True)
class Undisturbed:
    """What a command does if left alone.

    Attributes:
        arguments: its command line.
        seconds: how long it takes.
        changes: how often the set of names that it has written changes.
        contents: what it writes (`contents`).
        sizes: of its files, in bytes.
    """

    arguments: Sequence[str]
    seconds: float
    changes: int
    contents: Mapping[str, str]
    sizes: Sequence[int]


def watch_undisturbed(name: str, folder: Path, inputs: Path) -> Undisturbed:
    """Run a command to its end and look on."""
    attempt = Attempt(folder, inputs)
    since = time.monotonic()
    process = attempt.start(COMMANDS[name])
    changes = sum(1 for _ in changes_of(attempt, process))
    if process.wait() != 0:
        raise RuntimeError(f"{name} fails undisturbed: {attempt.said}")
    seconds = time.monotonic() - since
    return Undisturbed(
        COMMANDS[name], seconds, changes, contents(folder), [path.stat().st_size for path in _files(folder)]
    )


def changes_of(attempt: Attempt, process: subprocess.Popen[str]) -> Iterator[None]:
    """Yields whenever a name appears or vanishes in what a running command writes."""
    names = attempt.names()
    while process.poll() is None:
        time.sleep(POLL)
        if (now := attempt.names()) != names:
            names = now
            yield


def contents(folder: Path) -> dict[str, str]:
    """Path -> hash of what matters, of all that a command wrote into `out` and `cache`; empty folders count."""
    found = {}
    for top in ("out", "cache"):
        for path in sorted((folder / top).rglob("*")):
            relative = path.relative_to(folder).as_posix()
            found[relative] = "folder" if path.is_dir() else hashlib.sha256(_what_matters(path)).hexdigest()
    return found


def _files(folder: Path) -> list[Path]:
    """All files that a command wrote."""
    return sorted(path for top in ("out", "cache") for path in (folder / top).rglob("*") if path.is_file())


def file_hashes(folder: Path) -> dict[str, str]:
    """Path -> hash of the bytes, of all files in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _what_matters(path: Path) -> bytes:
    """A file's content without times and rates, which differ from run to run."""
    data = path.read_bytes()
    if path.name == "log.jsonl":
        return re.sub(rb', "patches_per_second": [0-9.]+', b"", data)
    if path.name == "index.html":
        return re.sub(rb"20\d\d-\d\d-\d\d \d\d:\d\d UTC", b"", data)
    if path.suffix == ".pt":  # an archive, named after its temporary file
        return repr(_described(torch.load(path, map_location="cpu", weights_only=True))).encode()
    return data


def _described(node: Any) -> Any:
    if isinstance(node, Tensor):
        return str(node.dtype), list(node.shape), hashlib.sha256(node.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(node, Mapping):
        return [(key, _described(value)) for key, value in node.items()]
    return [_described(value) for value in node] if isinstance(node, (list, tuple)) else node


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """What is missing, left over, or other than expected: a line each."""
    missing = [f"{path} is missing" for path in expected if path not in found]
    left = [f"{path} is left over" for path in found if path not in expected]
    return (
        missing + left + [f"{path} differs" for path in expected if found.get(path, expected[path]) != expected[path]]
    )


def half_written(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """Files under their final names that are neither what they become nor whole on the way there."""
    broken = []
    for path in _files(folder):
        relative = path.relative_to(folder).as_posix()
        if relative in expected and not _is_whole(path, expected[relative]):
            broken.append(relative)
    return broken


def _is_whole(path: Path, expected: str) -> bool:
    try:
        if hashlib.sha256(_what_matters(path)).hexdigest() == expected:
            return True
        # Files that change while a command runs.
        if path.name == "manifest.json":
            return json.loads(path.read_bytes())["complete"] is False
        if path.name == "log.jsonl":  # the line at the end is being written
            return all(json.loads(line) for line in path.read_bytes().split(b"\n")[:-1])
        if path.suffix == ".safetensors":
            return bool(load_file(path))
        return path.suffix == ".pt"  # loaded above
    except Exception as error:  # whatever a reader says of half a file
        print(f"{path}: {error!r}", file=sys.stderr)
        return False


def problems_of(code: int, said: Sequence[str], allowed: Sequence[int]) -> list[str]:
    """What is wrong with how a command ended: its exit code, a traceback, more than a line or two."""
    found = [] if code in allowed else [f"exit code {code}"]
    if any("Traceback" in line for line in said):
        found.append(f"a traceback ({said[-1][:200]})")
    elif len(said) > 2:
        found.append(f"{len(said)} lines ({said[0][:100]} ... {said[-1][:100]})")
    return found


def spread(count: int, rng: random.Random) -> list[float]:
    """Random numbers of 0..1, one in each of `count` equal parts, in random order."""
    numbers = [(position + rng.random()) / count for position in range(count)]
    rng.shuffle(numbers)
    return numbers
