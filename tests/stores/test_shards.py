"""Shards in a store: made there one by one, gone on with from any machine, and trained from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.extraction import extract as extraction
from bpr_cli.extraction import plan
from bpr_cli.extraction.extract import extract
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.stores.addresses import parse_address
from bpr_cli.stores.shard_cache import cached_shards
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
    assert [path for path in Path(os.environ["BPR_CACHE"]).rglob("*") if path.is_file()] == []


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


def put_shards(s3, folder: Path) -> None:
    for path in folder.iterdir():
        s3.put(path, f"shards/{path.name}")


def train(patches: object, out: Path, *options: object):
    short = ["--steps", 3, "--batch-size", 4, "--input-size", 32, "--precision", "fp32", "--device", "cpu", "-q"]
    return run_bpr("train", "--patches", patches, "-o", out, *short, *options)


def test_training_from_a_store_takes_the_very_steps_of_a_local_run_and_fetches_shards_once(s3, shard_folder, tmp_path):
    put_shards(s3, shard_folder)
    assert train(shard_folder, tmp_path / "local").returncode == 0
    done = train(f"{ROOT}/shards/", tmp_path / "far", "--workers", 1)
    assert done.returncode == 0, done.stderr
    weights = "best/model.safetensors"
    assert (tmp_path / "far" / weights).read_bytes() == (tmp_path / "local" / weights).read_bytes()
    local, far = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("local", "far"))
    assert list(far["patches"]) == [f"{ROOT}/shards"]
    assert far["shards"] == local["shards"]
    for path in shard_folder.glob("*.tar"):  # they are on this machine now
        s3.client.delete_object(Bucket=BUCKET, Key=f"shards/{path.name}")
    with ExitStack() as stack:
        address = parse_address(f"{ROOT}/shards")
        kept = cached_shards(address, Path(os.environ["BPR_CACHE"]).resolve() / "shards", stack, quiet=True)
        assert shards_of(kept) == shards_of(shard_folder)


def test_a_shard_that_is_missing_or_another_is_named_by_its_address(s3, shard_folder, tmp_path):
    put_shards(s3, shard_folder)
    name = next(shard_folder.glob("train-*.tar")).name
    data = bytearray(s3.get(f"shards/{name}"))
    data[len(data) // 2] ^= 1
    (tmp_path / "other.tar").write_bytes(data)
    s3.put(tmp_path / "other.tar", f"shards/{name}")
    failed = train(f"{ROOT}/shards", tmp_path / "run")
    assert failed.returncode == 2
    assert f"{ROOT}/shards/{name}: it is not the shard that manifest.json names" in failed.stderr
    s3.client.delete_object(Bucket=BUCKET, Key=f"shards/{name}")
    failed = train(f"{ROOT}/shards", tmp_path / "run")
    assert failed.returncode == 2
    assert f"{ROOT}/shards/{name}: it cannot be read: there is no such object" in failed.stderr
    failed = train(f"{ROOT}/photos", tmp_path / "run")
    assert failed.returncode == 2
    assert f"{ROOT}/photos/manifest.json: it cannot be read: there is no such object" in failed.stderr
    assert not (tmp_path / "run").exists()


def test_sets_that_no_process_reads_make_room_for_others(s3, shard_folder, tmp_path, monkeypatch):
    put_shards(s3, shard_folder)
    for path in shard_folder.iterdir():
        s3.put(path, f"others/{path.name}")
    gib = sum(path.stat().st_size for path in shard_folder.glob("*.tar")) / 2**30
    cache = tmp_path / "cache"
    monkeypatch.setenv("BPR_CACHE_GIB", str(gib * 1.5))
    with ExitStack() as stack:
        first = cached_shards(parse_address(f"{ROOT}/shards"), cache, stack, quiet=True)
        with ExitStack() as other, pytest.raises(InputError, match=f"{ROOT}/others: its shards take"):
            cached_shards(parse_address(f"{ROOT}/others"), cache, other, quiet=True)
        assert shards_of(first) == shards_of(shard_folder)
    with ExitStack() as stack:
        second = cached_shards(parse_address(f"{ROOT}/others"), cache, stack, quiet=True)
        assert shards_of(second) == shards_of(shard_folder)
    assert not first.exists()


@pytest.mark.slow
def test_two_processes_of_a_run_share_the_copies(s3, shard_folder, tmp_path):
    put_shards(s3, shard_folder)
    short = ["--steps", "3", "--batch-size", "4", "--input-size", "32", "--precision", "fp32", "--device", "cpu", "-q"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "bpr_cli"]
    command += ["train", "--patches", f"{ROOT}/shards", "-o", str(tmp_path / "far"), *short]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    cache = Path(os.environ["BPR_CACHE"])
    assert len(list(cache.rglob("*.tar"))) == len(list(shard_folder.glob("*.tar")))
    assert list(cache.rglob("users/*")) == []
    command[command.index(f"{ROOT}/shards")] = f"{ROOT}/absent"
    failed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert failed.stderr.count(f"error: {ROOT}/absent/manifest.json: it cannot be read: there is no such object") == 1
