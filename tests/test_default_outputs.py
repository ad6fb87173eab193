"""The shortest commands work where a bpr.toml says the rest, and their last lines say where the output is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bpr_cli.app import app
from bpr_cli.errors import InputError
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask
from bpr_cli.training.numbered_runs import choose_run
from tests import cityscapes_made
from tests.cityscapes_made import HEIGHT, WIDTH
from tests.conftest import Example


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def last_line(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    app([str(argument) for argument in arguments], standalone_mode=False)
    return capsys.readouterr().out.splitlines()[-1]


def test_patches_go_to_shards(three_photos: Example, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bpr.toml").write_text(
        f"quiet = true\n[extract]\nimages = {str(three_photos.images)!r}\ngt = {str(three_photos.gt)!r}\n"
        'val-fraction = 0.34\nprocesses = 1\nsplit-by = "sequence"\n'
    )
    assert last_line(capsys, "extract", "--results", three_photos.results).endswith("-> shards")
    assert (folder / "shards" / "manifest.json").is_file()


def test_runs_are_numbered_and_the_last_one_is_resumed(
    shard_folder: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bpr.toml").write_text(
        "quiet = true\n[train]\nsteps = 1\nbatch-size = 2\ninput-size = 32\nworkers = 0\nsave-every = 1\n"
    )
    train = ("train", "--patches", shard_folder)
    assert last_line(capsys, *train).endswith("--model runs/1")
    assert last_line(capsys, *train).endswith("--model runs/2")
    assert last_line(capsys, *train, "--resume").endswith("--model runs/2")
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["1", "2"]


def test_other_folders_among_the_runs_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_run(False, tmp_path / "runs").name == choose_run(True, tmp_path / "runs").name == "1"
    for name in ("9", "10", "first", "11x"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "12").touch()
    assert choose_run(False, tmp_path / "runs").name == "11"
    assert choose_run(True, tmp_path / "runs").name == "10"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="-o"):
        choose_run(False, tmp_path / "runs")


def test_coco_results_are_scored_with_cityscapes_own_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cityscapesscripts")
    made = cityscapes_made.make(folder)
    records = []
    for scene in cityscapes_made.SCENES:
        for label, score, (x1, y1, x2, y2) in scene.detections:
            mask = crop_mask(np.ones((y2 - y1, x2 - x1), np.uint8), x1, y1, HEIGHT, WIDTH)
            records.append(
                {"image_id": scene.name, "category_id": label, "score": score, "segmentation": encode_rle(mask)}
            )
    (folder / "refined.json").write_text(json.dumps(records))
    figures = {}
    for results in ("refined.json", made.results):
        line = last_line(capsys, "eval", results, "--gt", "gtFine/val", "--json", "figures.json", "--quiet")
        assert line == "figures -> figures.json"
        figures[str(results)] = json.loads((folder / "figures.json").read_text())["after"]
    assert figures["refined.json"] == figures[str(made.results)]
    assert figures["refined.json"]["cityscapes_ap"] > 0


def test_the_four_commands_work_as_they_stand(
    three_photos: Example, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Photos beside the JSON, named by image id; a bpr.toml with the ground truth."""
    truth = json.loads(three_photos.gt.read_text())
    for image in truth["images"]:
        (folder / f"{image['id']}.jpg").write_bytes((three_photos.images / image["file_name"]).read_bytes())
        image["file_name"] = f"{image['id']}.jpg"
    (folder / "gt.json").write_text(json.dumps(truth))
    for name in ("maskrcnn.json", "input.json"):
        (folder / name).write_bytes(three_photos.results.read_bytes())
    (folder / "bpr.toml").write_text(
        'quiet = true\nimages = "."\ngt = "gt.json"\n'
        '[extract]\nval-fraction = 0.34\nsplit-by = "sequence"\nprocesses = 1\n'
        "[train]\nsteps = 1\nbatch-size = 2\ninput-size = 32\nworkers = 0\n"
        '[refine]\nspeed = "fast"\n'
    )
    assert last_line(capsys, "extract", "--results", "maskrcnn.json").endswith("-> shards")
    assert last_line(capsys, "train", "--patches", "shards/").endswith("--model runs/1")
    assert last_line(capsys, "refine", "input.json", "-o", "refined.json").endswith("-> refined.json")
    last_line(capsys, "eval", "refined.json", "--json", "figures.json", "--baseline", "input.json")
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["after"]["boundary_iou"] > figures["before"]["boundary_iou"] + 0.05
