"""What the pages tell readers to type works: README, CONTRIBUTING and docs/, and the examples of docstrings.

A page's blocks run as they stand, one after the other, in a folder that holds the files they name. Its `bpr.toml` keeps
them short: few steps, the fast model.
"""

from __future__ import annotations

import doctest
import importlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer

from bpr_cli.app import app
from bpr_cli.formats import read_results
from bpr_cli.formats.images import read_image
from bpr_cli.formats.records import Instance
from bpr_cli.formats.rle import decode_rle, encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import bbox_xywh, crop_mask, to_frame
from bpr_cli.refining.refine import refine
from bpr_cli.refining.settings import RefineSettings
from tests import cityscapes_made, rasters_made
from tests.conftest import ROOT, Example

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SLOW = {"docs/train.md", "docs/speed.md", "docs/python.md"}  # they export, measure, open several models
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"^```(sh|python|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HEIGHT, WIDTH = 200, 240  # of the part of each photo that is used
SHORT = """
quiet = true
[refine]
speed = "fast"
engine = "torch"
[extract]
processes = 1
val-fraction = 0.34
[train]
steps = 2
batch-size = 4
input-size = 64
workers = 0
[benchmark]
photos = 1
"""


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of a page's code blocks."""
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell block."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


@pytest.fixture
def folder(three_photos: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages name, and the working directory: a part of each photo, with one object."""
    truth, detections = read_results(three_photos.gt), read_results(three_photos.results)
    best = [max(entry.instances, key=lambda instance: instance.score or 0) for entry in detections.images]
    corners = {instance.image_id: corner(instance) for instance in best}
    (tmp_path / "photos").mkdir()
    for entry in truth.images:
        left, top = corners[entry.image.id]
        photo = cv2.imread(str(three_photos.images / str(entry.image.file_name)))
        part = photo[top : top + HEIGHT, left : left + WIDTH]
        cv2.imwrite(str(tmp_path / "photos" / f"{entry.image.id}.jpg"), part)

    results = [cut(instance, *corners[instance.image_id]) for instance in best]
    dataset = json.loads(three_photos.gt.read_text())
    dataset["images"] = [
        {**entry.image.fields, "file_name": f"{entry.image.id}.jpg", "height": HEIGHT, "width": WIDTH}
        for entry in truth.images
    ]
    dataset["annotations"] = [
        cut(instance, *corners[instance.image_id]) for entry in truth.images for instance in entry.instances
    ]
    truths = {record["image_id"]: record["segmentation"] for record in dataset["annotations"]}
    refined = [{**record, "segmentation": truths[record["image_id"]]} for record in results]
    for name, document in {"results": results, "detections": results, "refined": refined}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    (tmp_path / "parts").mkdir()
    for number, record in enumerate(results):
        (tmp_path / "parts" / f"{number}.json").write_text(json.dumps([record]))
    for name in ("gt", "images", "dataset"):
        (tmp_path / f"{name}.json").write_text(json.dumps(dataset))

    shutil.copy(tmp_path / "photos" / f"{best[0].image_id}.jpg", tmp_path / "photo.jpg")
    mask = to_frame(decode_rle(results[0]["segmentation"])) * np.uint8(255)
    upper = mask.copy()
    upper[HEIGHT // 2 :] = 0
    for name, pixels in {"person": mask, "dog": upper, "a": mask, "b": upper}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)

    masks = {str(record["image_id"]): to_frame(decode_rle(record["segmentation"])) > 0 for record in results}
    rasters_made.make(tmp_path, masks)
    cityscapes_made.make(tmp_path)
    (tmp_path / "bpr.toml").write_text(SHORT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def corner(instance: Instance) -> tuple[int, int]:
    """Top left pixel (x, y) of the part of a photo that is used: where the object begins."""
    height, width = instance.segmentation["size"]
    x, y, *_ = (int(value) for value in instance.fields["bbox"])
    return min(max(0, x - 20), width - WIDTH), min(max(0, y - 20), height - HEIGHT)


def cut(instance: Instance, left: int, top: int) -> dict[str, Any]:
    """An instance's record for that part of its photo."""
    frame = to_frame(decode_mask(instance, *instance.segmentation["size"]))
    mask = crop_mask(frame[top : top + HEIGHT, left : left + WIDTH], 0, 0, HEIGHT, WIDTH)
    return {**instance.fields, "segmentation": encode_rle(mask), "bbox": bbox_xywh(mask), "area": mask.area}


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in PAGES if blocks(page)]
)
def test_every_code_block_of_a_page_works_as_it_stands(page: str, folder: Path) -> None:
    run_page(page, folder)


def run_page(page: str, folder: Path) -> None:
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), names)
        elif language == "toml":
            check_defaults(text, folder)
        else:
            for words in commands(text):
                run(words)


def run(words: list[str]) -> None:
    """Run a command of bpr's; of others, make sure that what they name is there."""
    program, *arguments = words
    is_far = any("://" in argument for argument in arguments)  # tests/stores run such commands
    if program == "bpr" and ("--int8" in arguments or is_far):  # int8 wants 600 patches: only the options are tried
        typer.main.get_command(app).commands[arguments[0]].make_context(arguments[0], arguments[1:])
    elif program == "bpr":
        assert not app(arguments, standalone_mode=False), f"{shlex.join(words)} failed"
    elif program == "make":
        assert f"\n{arguments[0]}:" in (ROOT / "Makefile").read_text()
    elif program == "pip":
        check_extras(arguments[-1])
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()
    else:
        assert program in ("git", "torchrun"), f"nothing is known of {program}"


def check_defaults(text: str, folder: Path) -> None:
    """A bpr.toml is checked before any command of a folder begins."""
    own = (folder / "bpr.toml").read_text()
    (folder / "bpr.toml").write_text(text)
    run(["bpr", "models"])
    (folder / "bpr.toml").write_text(own)


def check_extras(requirement: str) -> None:
    """The extras of `.[openvino]` or NAME[openvino] are this project's."""
    found = re.fullmatch(r"(\.|[a-z-]+)\[([a-z0-9,]+)\]", requirement)
    assert found, requirement
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert found[1] in (".", project["name"])
    assert set(found[2].split(",")) <= set(project["optional-dependencies"])


def test_what_the_code_tells_users_to_install_is_this_project_with_an_extra_it_has() -> None:
    from bpr_cli.errors import to_install

    used = set()
    for path in (ROOT / "bpr_cli").rglob("*.py"):
        used |= set(re.findall(r"""(?:to_install|_require)\(['"](\w+)['"]""", path.read_text(encoding="utf-8")))
    assert used >= {"openvino", "tensorboard"}
    for extra in used:
        check_extras(shlex.split(to_install(extra))[-1])
    for page in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/*.md"),
        *ROOT.glob("models/**/*.md"),
    ]:
        for requirement in re.findall(r"pip install '([^']+)'", page.read_text(encoding="utf-8")):
            check_extras(requirement)


def test_one_masks_way_through_the_code_ends_where_the_command_does(folder: Path) -> None:
    (walk,) = (text for language, text in blocks("CONTRIBUTING.md") if language == "python")
    assert len(walk.splitlines()) < 40
    run_page("CONTRIBUTING.md", folder)
    settings = RefineSettings(passes=2, flips=False)
    refine(
        folder / "results.json", folder / "all.json", images=folder / "photos", model="davis-fast", settings=settings
    )
    before, one, every = (json.loads((folder / f"{name}.json").read_text()) for name in ("results", "one", "all"))
    assert every[0] != before[0]
    assert one == [every[0], *before[1:]]


def test_every_file_that_contributing_names_is_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:[\w.]+/)+(?:[\w.-]+\.(?:py|yml))?)`", page)
    assert len(named) > 15
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "bpr_cli" / name).exists() or name in ("runs/first/",), name


WITH_EXAMPLES = [
    path for path in sorted((ROOT / "bpr_cli").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_every_example_of_a_docstring_works(path: Path, folder: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    masks = np.stack([cv2.imread(name, cv2.IMREAD_GRAYSCALE) > 127 for name in ("person.png", "dog.png")])
    known = {**vars(module), "photo": read_image(folder / "photo.jpg"), "masks": masks}
    examples = [test for test in doctest.DocTestFinder().find(module, globs=known) if test.examples]
    assert examples
    for example in examples:
        assert not doctest.DocTestRunner().run(example).failed, example.name
