"""Training: it learns, restarts exactly, runs in several processes, and stops on NaN."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from bpr_cli.errors import InputError
from bpr_cli.network import checkpoint
from bpr_cli.training.recipe import choose_recipe
from bpr_cli.training.train import TrainingDivergedError, train
from tests.conftest import run_bpr

SMALL = {"batch_size": 4, "input_size": 64, "seed": 1}


def settings(**changes):
    return choose_recipe("default", **{**SMALL, **changes})


def losses(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if row["kind"] == "train"}


def test_a_run_leaves_weights_log_and_what_it_was_made_from(shard_folder, tmp_path):
    summary = train(
        [shard_folder], tmp_path / "run", settings(steps=4), validate_every=2, save_every=2, workers=0, quiet=True
    )
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "val"] == [2, 4]
    assert summary.best.coarse_miou > 0.5
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["recipe"]["batch_size"] == 4
    assert run["patches"][str(shard_folder)]["splits"]["train"]["patches"] > 0
    module, config = checkpoint.load(tmp_path / "run")
    assert (config.network, config.input_size, config.patch_size) == ("hrnet-w18-small", 64, 64)
    assert not module.training


@pytest.mark.slow
def test_training_beats_the_coarse_masks_of_its_own_patches(shard_folder, tmp_path):
    recipe = settings(steps=150, warmup=10, batch_size=8, ema=0.9)
    summary = train([shard_folder], tmp_path / "run", recipe, validate_every=50, save_every=50, workers=0, quiet=True)
    series = losses(tmp_path / "run")
    assert series[150] < 0.7 * series[50]
    assert summary.best.miou > 0.7


def test_a_run_killed_at_any_moment_goes_on_exactly(shard_folder, tmp_path):
    arguments = [
        "train", "--patches", shard_folder, "--steps", 8, "--batch-size", 4, "--input-size", 64, "--seed", 1,
        "--save-every", 2, "--validate-every", 4, "--workers", 0, "--device", "cpu", "--quiet",
    ]  # fmt: skip
    whole = run_bpr(*arguments, "-o", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "bpr_cli", *map(str, arguments), "-o", str(tmp_path / "killed")]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    process.wait()
    resumed = run_bpr(*arguments, "-o", tmp_path / "killed", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    expected, found = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "killed"))
    for part in ("network", "ema"):
        for key, tensor in expected[part].items():
            assert torch.equal(tensor, found[part][key]), (part, key)
    assert (tmp_path / "whole" / "best" / "model.safetensors").read_bytes() == (
        tmp_path / "killed" / "best" / "model.safetensors"
    ).read_bytes()
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_two_processes_take_the_steps_of_one(shard_folder, tmp_path):
    arguments = [
        "train", "--patches", str(shard_folder), "--steps", "4", "--batch-size", "4", "--input-size", "64",
        "--save-every", "1", "--validate-every", "2", "--workers", "0", "--device", "cpu", "--precision", "fp32",
        "--quiet",
    ]  # fmt: skip
    alone = run_bpr(*arguments, "-o", tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    together = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "bpr_cli", *arguments, "-o", str(tmp_path / "two"),
        ],
        capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert together.returncode == 0, together.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one == pytest.approx(two, rel=1e-3)
    first, second = (load_file(tmp_path / name / "best" / "model.safetensors") for name in ("one", "two"))
    for key, tensor in first.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, second[key], rtol=1e-2, atol=1e-3), key


def test_nan_stops_the_run_with_a_word_and_keeps_the_sound_state(shard_folder, tmp_path):
    recipe = settings(steps=20, lr=1e30, clip_norm=0.0, warmup=0)
    with pytest.raises(TrainingDivergedError, match="lower --lr"):
        train([shard_folder], tmp_path / "run", recipe, save_every=5, workers=0, quiet=True)
    assert not (tmp_path / "run" / "last.pt").exists()


def test_another_run_in_the_folder_is_not_overwritten(shard_folder, tmp_path):
    train([shard_folder], tmp_path / "run", settings(steps=1), workers=0, quiet=True)
    with pytest.raises(InputError, match="--resume"):
        train([shard_folder], tmp_path / "run", settings(steps=1), workers=0, quiet=True)
    with pytest.raises(InputError, match="steps 1 -> 2"):
        train([shard_folder], tmp_path / "run", settings(steps=2), workers=0, quiet=True, resume=True)


def test_a_folder_without_patches_is_named(tmp_path):
    with pytest.raises(InputError, match="no patches here"):
        train([tmp_path], tmp_path / "run", settings(steps=1), quiet=True)
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        train(str(tmp_path), str(tmp_path / "run"), settings(steps=1), quiet=True)


def test_training_can_begin_from_a_model(shard_folder, tmp_path):
    train([shard_folder], tmp_path / "first", settings(steps=2, ema=0.0), workers=0, quiet=True)
    frozen = settings(steps=1, ema=0.0, lr=1e-12, final_lr=1e-12, warmup=0)
    train([shard_folder], tmp_path / "second", frozen, init=str(tmp_path / "first"), workers=0, quiet=True)
    first, second = (checkpoint.load(tmp_path / name)[0].state_dict() for name in ("first", "second"))
    weight = "decode_head.conv_seg.weight"
    assert torch.allclose(first[weight], second[weight], atol=1e-6)


def test_tensorboard_events_are_written_on_request(shard_folder, tmp_path):
    pytest.importorskip("tensorboard")
    train([shard_folder], tmp_path / "run", settings(steps=1), workers=0, tensorboard=True, quiet=True)
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_workers_read_the_same_batches(shard_folder, tmp_path):
    for workers in (0, 1):
        train([shard_folder], tmp_path / str(workers), settings(steps=3), save_every=1, workers=workers, quiet=True)
    assert losses(tmp_path / "0") == losses(tmp_path / "1")
