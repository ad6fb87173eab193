"""A run goes on exactly, and only as the run that it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from bpr_cli.engines import devices
from bpr_cli.errors import InputError
from bpr_cli.extraction.manifest import read_any_manifest, write_manifest
from bpr_cli.locks import holding
from bpr_cli.network import checkpoint
from bpr_cli.training import train as training
from bpr_cli.training.recipe import choose_recipe
from bpr_cli.training.run_folder import LOCK_FILE
from tests.conftest import ROOT
from tests.training.states import equal, log_of, state_of

SMALL = {"steps": 2, "batch_size": 2, "input_size": 32}


def train(shards, out, *, resume=False, recipe=None, save_every=1, **options):
    chosen = choose_recipe("default", **{**SMALL, **(recipe or {})})
    return training.train([shards], out, chosen, workers=0, save_every=save_every, resume=resume, quiet=True, **options)


@pytest.fixture(scope="module")
def finished(shard_folder, tmp_path_factory):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    train(shard_folder, folder, precision="fp32")
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it, with one step left to take."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are POSIX")
def test_a_run_killed_at_any_moment_ends_as_the_one_that_was_not(shard_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.killed", str(shard_folder), str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole, *killed = sorted(tmp_path.iterdir(), key=lambda folder: folder.name != "whole")
    assert len(killed) == 6
    for folder in killed:
        assert equal(state_of(whole), state_of(folder)), folder.name
        assert log_of(whole) == log_of(folder), folder.name
        assert sorted(path.name for path in folder.rglob("*")) == sorted(path.name for path in whole.rglob("*"))
        for name in ("model.safetensors", "config.json"):
            assert (whole / "best" / name).read_bytes() == (folder / "best" / name).read_bytes(), folder.name


def test_a_run_goes_on_in_the_precision_that_it_began_in(shard_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "gains_from_bfloat16", lambda device: True)
    assert train(shard_folder, tmp_path / "run", recipe={"steps": 1}).precision == "bf16"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["precision"] == "bf16"
    monkeypatch.setattr(devices, "gains_from_bfloat16", lambda device: False)
    assert train(shard_folder, tmp_path / "run", recipe={"steps": 1}, resume=True).precision == "bf16"
    with pytest.raises(InputError, match="precision bf16 -> fp32"):
        train(shard_folder, tmp_path / "run", recipe={"steps": 1}, resume=True, precision="fp32")


def test_run_json_names_what_the_weights_began_from_and_its_hash(shard_folder, small_model, tmp_path):
    train(shard_folder, tmp_path / "run", recipe={"steps": 1, "input_size": 64}, init=str(small_model))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["init"] == {
        "model": str(small_model),
        "weights": checkpoint.hash_weights(checkpoint.load(small_model)[0]),
    }
    assert (record["validate_every"], record["save_every"], record["processes"]) == (500, 1, 1)
    assert [set(shard) for shard in record["shards"]] == [{"file", "bytes", "sha256"}] * len(record["shards"])
    for init, found in ((None, "random"), ("davis-fast", "davis-fast")):
        with pytest.raises(InputError, match=rf"init {small_model} \(\w{{8}}\) -> {found}"):
            train(
                shard_folder, tmp_path / "run", recipe={"steps": 1, "input_size": 64}, init=init, resume=True
            )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": {"steps": 3}}, "steps 2 -> 3"),
        ({"recipe": {"lr": 0.5, "seed": 4}}, r"lr 0\.002 -> 0\.5; seed 0 -> 4"),
        ({"validate_every": 7}, "validate_every 500 -> 7"),
        ({"precision": "bf16"}, "precision fp32 -> bf16"),
        ({"init": "davis-fast"}, r"init random -> davis-fast \("),
    ],
)
def test_what_decides_the_weights_must_be_the_same(shard_folder, run, options, says):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=says):
        train(shard_folder, run, resume=True, **options)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_does_not_is_said_and_written_down(shard_folder, run):
    record = json.loads((run / "run.json").read_text())
    record["versions"]["torch"] = "2.4.0"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.warns(UserWarning, match=r"save_every 1 -> 2; torch 2\.4\.0 -> "):
        train(shard_folder, run, resume=True, save_every=2)
    changed = json.loads((run / "run.json").read_text())
    assert changed["changes"][0]["step"] == 2
    assert changed["versions"]["torch"] == torch.__version__


def test_patches_are_known_by_their_content_not_by_their_path(shard_folder, run, tmp_path):
    elsewhere = tmp_path / "moved" / "shards"
    shutil.copytree(shard_folder, elsewhere)
    train(elsewhere / ".." / "shards", run, resume=True)
    victim = sorted(elsewhere.glob("train-*.tar"))[0]
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1  # in the padding at a tar's end: as valid as before
    victim.write_bytes(content)
    with pytest.raises(InputError, match=rf"patches {victim.name} \(\w{{8}}\) -> {victim.name} \(\w{{8}}\)"):
        train(elsewhere, run, resume=True)


def test_a_start_that_failed_does_not_stand_in_the_way(shard_folder, tmp_path):
    for options in (
        {"init": "davis-fast", "recipe": {"network": "hrnet-w18"}},
        {"init": "no-such-model"},
        {"precision": "fp16"},
        {"device": "cuda:99"},
        {"validate_every": 0},
    ):
        with pytest.raises(InputError):
            train(shard_folder, tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()


def test_a_run_that_died_before_it_kept_anything_is_begun_anew_with_any_options(shard_folder, tmp_path, monkeypatch):
    def die(self, batch):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(training.Training, "_take_step", die)
        with pytest.raises(MemoryError):
            train(shard_folder, tmp_path / "run", recipe={"batch_size": 64})
    assert (tmp_path / "run" / "run.json").exists()
    train(shard_folder, tmp_path / "run", recipe={"steps": 1})
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["batch_size"] == 2


def test_a_second_process_in_the_folder_is_refused(shard_folder, run):
    with holding(run / LOCK_FILE), pytest.raises(InputError, match="another process is training"):
        train(shard_folder, run, resume=True)
    train(shard_folder, run, resume=True)


def test_what_a_killed_run_left_half_written_is_removed(shard_folder, run):
    for name in (".last.pt.1234abcd.part", ".run.json.0.part", "best/.model.safetensors.0.part"):
        (run / name).write_text("half")
    train(shard_folder, run, resume=True)
    assert not list(run.rglob("*.part"))


def test_a_run_json_that_a_power_cut_took_is_written_again_from_the_state(shard_folder, run):
    whole = json.loads((run / "run.json").read_text())
    (run / "run.json").write_bytes(b"\0" * 400)
    train(shard_folder, run, resume=True)
    assert json.loads((run / "run.json").read_text()) == whole


def test_with_a_broken_state_the_run_begins_again_and_gets_to_the_same_end(shard_folder, run, finished):
    (run / "last.pt").write_bytes((run / "last.pt").read_bytes()[:5_000_000])
    with pytest.warns(UserWarning, match=r"last\.pt.* cannot be read"):
        train(shard_folder, run, resume=True)
    assert equal(state_of(run), state_of(finished))
    assert log_of(run) == log_of(finished)


def test_a_state_of_another_kind_is_named_and_let_be(shard_folder, run):
    state = state_of(run)
    state["network"].popitem()
    torch.save(state, run / "last.pt")
    before = (run / "last.pt").read_bytes()
    with pytest.raises(InputError, match=r"last\.pt.*not one of this run"):
        train(shard_folder, run, resume=True)
    assert (run / "last.pt").read_bytes() == before


def test_a_manifest_that_was_written_anew_over_the_same_shards_is_no_other_run(shard_folder, run, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(shard_folder, copy)
    write_manifest(copy, {**read_any_manifest(copy), "note": "the photos were touched"})
    train(copy, run, resume=True)
