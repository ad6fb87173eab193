"""Shards in a store: made there one by one, gone on with from any machine, and trained from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.extraction import extract as extraction
from bpr_cli.extraction import plan
from bpr_cli.extraction.extract import extract
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from tests.conftest import run_bpr
from tests.stores.conftest import BUCKET

ROOT = f"s3://{BUCKET}"
SETTINGS = ExtractionSettings(val_fraction=0.34, split_by="sequence")
OPTIONS = ["--val-fraction", 0.34, "--split-by", "sequence", "-q"]
FAR = {"images": f"{ROOT}/photos", "gt": f"{ROOT}/gt.json", "results": [f"{ROOT}/results.json"]}


@pytest.fixture
def one_photo_a_shard(monkeypatch):
    monkeypatch.setattr(plan, "IMAGES_PER_SHARD", 1)


def shards_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


def shards_there(s3) -> dict[str, bytes]:
    return {name.removeprefix("shards/"): s3.get(name) for name in s3.names() if name.endswith(".tar")}


def test_extract_by_several_processes_puts_the_very_shards_of_a_local_run(s3, three_photos, shard_folder, tmp_path):
    s3.put_example(three_photos)
    done = run_bpr(
        *("extract", "--images", f"{ROOT}/photos/", "--gt", f"{ROOT}/gt.json", "--results", f"{ROOT}/results.json"),
        *("-o", f"{ROOT}/shards/", "--processes", 2, *OPTIONS),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"-> {ROOT}/shards/\n")
    assert shards_there(s3) == shards_of(shard_folder)
    local, far = json.loads((shard_folder / "manifest.json").read_text()), json.loads(s3.get("shards/manifest.json"))
    assert far == local
    cache = Path(extraction.with_stores.__globals__["cache_folder"]())
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_an_extraction_that_was_stopped_goes_on_from_what_is_in_the_store(
    s3, three_photos, one_photo_a_shard, tmp_path, monkeypatch
):
    local = {"images": three_photos.images, "gt": three_photos.gt, "results": [three_photos.results]}
    extract(**local, out=tmp_path / "whole", settings=SETTINGS, quiet=True)
    s3.put_example(three_photos)
    make, made = extraction.ShardMaker.__call__, []

    def until_the_second(self, task):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(task.name)
        return make(self, task)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(extraction.ShardMaker, "__call__", until_the_second)
        extract(**FAR, out=f"{ROOT}/shards", settings=SETTINGS, quiet=True)
    assert list(shards_there(s3)) == [f"{made[0]}.tar"]
    assert json.loads(s3.get("shards/manifest.json"))["complete"] is False
    monkeypatch.setenv("BPR_CACHE", str(tmp_path / "another-machine"))

    def noted(self, task):
        made.append(task.name)
        return make(self, task)

    monkeypatch.setattr(extraction.ShardMaker, "__call__", noted)
    extract(**FAR, out=f"{ROOT}/shards", settings=SETTINGS, quiet=True)
    assert sorted(made) == sorted(path.stem for path in (tmp_path / "whole").glob("*.tar"))
    assert shards_there(s3) == shards_of(tmp_path / "whole")
    with pytest.raises(InputError, match=f"{ROOT}/shards: the shards there were made from other inputs or settings"):
        extract(**FAR, out=f"{ROOT}/shards", settings=ExtractionSettings(seed=5), quiet=True)
    shutil.copy(three_photos.gt, tmp_path / "other.jpg")
    name = next(name for name in s3.names() if name.startswith("photos/"))
    s3.put(tmp_path / "other.jpg", name)
    with pytest.raises(InputError, match=f"{ROOT}/{name}: the photo has changed since its patches were cut"):
        extract(**FAR, out=f"{ROOT}/shards", settings=SETTINGS, quiet=True)
