"""Training: it learns, restarts exactly, runs in several processes, and stops on NaN."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from bpr_cli.app import app
from bpr_cli.engines.engine import open_network
from bpr_cli.errors import InputError
from bpr_cli.network import checkpoint
from bpr_cli.training.loop import Training
from bpr_cli.training.recipe import choose_recipe
from bpr_cli.training.train import TrainingDivergedError, train
from tests.conftest import run_bpr
from tests.network.seeded import seeded_patches

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


def test_a_state_is_kept_only_while_the_weights_themselves_are_numbers(shard_folder, tmp_path, monkeypatch):
    taken = []

    def ruin(self, original=Training._take_step):
        def take(batch):
            loss = original(self, batch)
            taken.append(float(loss))
            if len(taken) == 2:
                next(self.network.parameters()).data[0] = float("inf")
            return loss

        return take

    monkeypatch.setattr(Training, "_take_step", property(ruin))
    recipe = settings(steps=4, batch_size=2, input_size=32, ema=0.0)
    with pytest.raises(TrainingDivergedError, match=r"weights are no longer numbers at step 2.*of step 1"):
        train([shard_folder], tmp_path / "run", recipe, save_every=1, validate_every=1, workers=0, quiet=True)
    assert all(map(math.isfinite, taken))
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["step"] == 1
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state["network"].values())
    checkpoint.load(tmp_path / "run")


def test_float16_has_its_loss_scaled_and_the_scale_kept(shard_folder, tmp_path, monkeypatch):
    """On the CPU, where it is refused because it is slow; the arithmetic is the same."""
    recipe = settings(steps=3, batch_size=2, input_size=32)
    with pytest.raises(InputError, match="fp16 needs CUDA"):
        train([shard_folder], tmp_path / "refused", recipe, device="cpu", precision="fp16", quiet=True)
    monkeypatch.setattr("bpr_cli.training.train.training_dtype", lambda device, precision: torch.float16)
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=256.0))
    options = {"workers": 0, "save_every": 2, "quiet": True, "precision": "fp16"}
    gradients = []
    step = torch.optim.AdamW.step

    def watched(self, *arguments, **keywords):
        gradients.append(max(float(p.grad.abs().max()) for g in self.param_groups for p in g["params"]))
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    assert train([shard_folder], tmp_path / "run", recipe, **options).precision == "fp16"
    assert max(gradients) <= recipe.clip_norm * 1.001  # scaled back before they are clipped
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert 1 <= state["scaler"]["scale"] <= 256
    state["step"], state["scaler"]["scale"] = 2, 2.0
    torch.save(state, tmp_path / "run" / "last.pt")
    train([shard_folder], tmp_path / "run", recipe, resume=True, **options)
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["scaler"]["scale"] <= 2.0


@pytest.mark.parametrize(
    "options", [{"validate_every": 0}, {"save_every": -1}, {"save_every": 1.5}, {"workers": -1}, {"workers": 0.5}]
)
def test_counts_below_their_least_are_named_by_the_function_too(shard_folder, tmp_path, options):
    with pytest.raises(InputError, match=next(iter(options))):
        train([shard_folder], tmp_path / "run", settings(steps=1), **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--validate-every", "0"), ("--save-every", "0"), ("--workers", "-1"), ("--steps", "0"), ("--batch-size", "1"),
        ("--recipe", "papier"), ("--network", "resnet"), ("--precision", "int8"), ("--seed", "-1"),
    ],
)  # fmt: skip
def test_the_command_line_names_options_out_of_range(option, value):
    done = CliRunner().invoke(app, ["train", "--patches", "x", "-o", "y", option, value], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert option in done.output


def test_training_from_a_model_follows_it_and_says_so_if_it_does_not(shard_folder, small_model, tmp_path):
    common = ["train", "--patches", shard_folder, "--steps", 1, "--batch-size", 2, "--workers", 0, "-q"]
    followed = run_bpr(*common, "--init", small_model, "-o", tmp_path / "followed")
    assert followed.returncode == 0, followed.stderr
    assert checkpoint.load_config(tmp_path / "followed").input_size == 64
    assert "trained in fp32 on" in followed.stdout or "trained in bf16 on" in followed.stdout
    recipe = settings(steps=1, batch_size=2, input_size=32)
    with pytest.warns(UserWarning, match="trained at 64 px; here its patches are shown at 32 px"):
        train([shard_folder], tmp_path / "other", recipe, init=str(small_model), workers=0, quiet=True)
    with pytest.raises(InputError, match="is a hrnet-w18-small, not a hrnet-w18"):
        train([shard_folder], tmp_path / "w18", settings(steps=1, network="hrnet-w18"), init=str(small_model))


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_model_without_the_mask_patch_is_trained_and_used_by_the_same_commands(shard_folder, tmp_path, engine):
    common = ["train", "--patches", shard_folder, "--steps", 1, "--batch-size", 2, "--workers", 0, "-q"]
    blind = tmp_path / "blind"
    done = run_bpr(*common, "--input-size", 64, "--no-mask-patch", "-o", blind)
    assert done.returncode == 0, done.stderr
    opened = open_network(blind, engine=engine)
    assert not opened.config.mask_patch
    photos, masks = seeded_patches(2)
    answers = [opened.engine.predict(photos, coarse, flips=True) for coarse in (masks, 1 - masks)]
    assert np.array_equal(*answers)
    assert answers[0].std() > 0
    followed = run_bpr(*common, "--init", blind, "-o", tmp_path / "followed")
    assert followed.returncode == 0, followed.stderr
    assert not checkpoint.load_config(tmp_path / "followed").mask_patch
    refused = run_bpr(*common, "--init", blind, "--mask-patch", "-o", tmp_path / "refused")
    assert (refused.returncode, refused.stderr.count("trained without the mask patch")) == (2, 1)


def test_a_run_from_before_there_was_a_choice_of_the_mask_patch_goes_on(shard_folder, tmp_path):
    run, begun = tmp_path / "run", settings(steps=2)
    train([shard_folder], run, begun, workers=0, quiet=True)
    record = json.loads((run / "run.json").read_text())
    del record["recipe"]["mask_patch"]
    (run / "run.json").write_text(json.dumps(record))
    assert train([shard_folder], run, begun, workers=0, quiet=True, resume=True).steps == 2
    with pytest.raises(InputError, match="mask_patch True -> False"):
        train([shard_folder], run, settings(steps=2, mask_patch=False), workers=0, quiet=True, resume=True)


def test_the_scheme_of_the_patches_is_kept_with_the_model(shard_folder, tmp_path):
    train([shard_folder], tmp_path / "run", settings(steps=1, batch_size=2), workers=0, quiet=True)
    assert checkpoint.load_config(tmp_path / "run").scheme == "dense"


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
