"""Models on disk: every form that `--model` takes, and no foreign code."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from bpr_cli.errors import InputError
from bpr_cli.network import checkpoint, hrnet
from bpr_cli.network.config import ModelConfig
from tests.network.seeded import seeded_network


@pytest.fixture(scope="module")
def network():
    return seeded_network()


def same_weights(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_folder_a_single_file_and_a_run_come_back_as_they_were(network, tmp_path):
    config = ModelConfig(input_size=96, patch_size=48, padding=8)
    checkpoint.save(tmp_path / "folder", network, config)
    checkpoint.save(tmp_path / "single.safetensors", network, config)
    checkpoint.save(tmp_path / "run" / "best", network, config)
    for path in ("folder", "folder/model.safetensors", "single.safetensors", "run", "run/best"):
        loaded, found = checkpoint.load(tmp_path / path)
        assert found == config
        assert not loaded.training
        assert same_weights(loaded, network)


def test_half_precision_on_disk_is_float32_in_memory_and_close(network, tmp_path):
    checkpoint.save(tmp_path / "half", network, ModelConfig(), half=True)
    checkpoint.save(tmp_path / "full", network, ModelConfig())
    half, full = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "full"))
    assert half < 0.6 * full
    loaded, _ = checkpoint.load(tmp_path / "half")
    for key, tensor in network.state_dict().items():
        assert loaded.state_dict()[key].dtype == tensor.dtype
        assert torch.allclose(loaded.state_dict()[key].float(), tensor.float(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pth_in_the_form_of_the_papers_authors_loads(network, tmp_path, prefix):
    state = {prefix + key: tensor for key, tensor in network.state_dict().items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.01}]}
    content = {"meta": {"epoch": 1, "CLASSES": ("bg", "fg")}, "state_dict": state, "optimizer": optimizer}
    torch.save(content, tmp_path / "authors.pth")
    loaded, config = checkpoint.load(tmp_path / "authors.pth")
    assert config == ModelConfig("hrnet-w18-small", 128, 64, 0)
    assert same_weights(loaded, network)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"state_dict": {}, "meta": Malicious()}, tmp_path / "zip.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Malicious()))
    for name in ("zip.pth", "bare.pth"):
        with pytest.raises(InputError, match="refused"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_broken_files_are_named(network, tmp_path):
    checkpoint.save(tmp_path / "model", network, ModelConfig())
    whole = (tmp_path / "model" / "model.safetensors").read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"no weights")):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(InputError, match=path.name):
            checkpoint.load(path)


def test_missing_unknown_and_misshapen_weights_are_named(network, tmp_path):
    state = dict(network.state_dict())
    del state["backbone.conv1.weight"]
    state["backbone.extra"] = torch.zeros(1)
    state["decode_head.conv_seg.bias"] = torch.zeros(7)
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / "odd.safetensors")
    with pytest.raises(InputError) as caught:
        checkpoint.load(tmp_path / "odd.safetensors")
    for name in ("backbone.conv1.weight", "backbone.extra", "decode_head.conv_seg.bias"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"network": "resnet"}, {"network": {"size": [40000, 40000]}}, {"network": None}, {"input_size": 100},
        {"input_size": 64_000_000}, {"input_size": True}, {"input_size": None}, {"patch_size": 0}, {"padding": -1},
        {"patch_size": 1e9}, {"padding": 100_000}, {"colour": 3}, {"scheme": "spiral"}, {"scheme": ["dense"]},
        {"format": 2}, {"format": [1]},
    ],
)  # fmt: skip
def test_a_config_out_of_range_is_refused(network, tmp_path, config):
    checkpoint.save(tmp_path, network, ModelConfig())
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, **config}))
    with pytest.raises(InputError, match=r"config\.json"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe{}", b'{"format": 1,', b"[1]", b"null", b"[" * 100_000, b"{\x00" * 10]
)
def test_a_config_that_is_broken_is_named(network, tmp_path, content):
    checkpoint.save(tmp_path, network, ModelConfig())
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json"):
        checkpoint.load(tmp_path)


def test_the_scheme_is_kept_and_absent_where_it_is_not_known(network, tmp_path):
    checkpoint.save(tmp_path / "grid", network, ModelConfig(scheme="grid"))
    assert checkpoint.load_config(tmp_path / "grid").scheme == "grid"
    checkpoint.save(tmp_path / "former", network, ModelConfig())
    assert "scheme" not in json.loads((tmp_path / "former" / "config.json").read_text())
    assert checkpoint.load(tmp_path / "former")[1].scheme is None


def test_whether_there_is_a_mask_patch_is_kept_and_absent_where_there_is_one(network, tmp_path):
    checkpoint.save(tmp_path / "with", network, ModelConfig())
    assert "mask_patch" not in json.loads((tmp_path / "with" / "config.json").read_text())
    blind = hrnet.build("hrnet-w18-small", mask_patch=False)
    checkpoint.save(tmp_path / "without", blind, ModelConfig(mask_patch=False))
    loaded, config = checkpoint.load(tmp_path / "without")
    assert config == ModelConfig(mask_patch=False)
    assert loaded.state_dict().keys() == blind.state_dict().keys()
    with pytest.raises(InputError, match="unet-lite0 needs the mask patch"):
        ModelConfig("unet-lite0", mask_patch=False)
    with pytest.raises(InputError, match="mask_patch is 0"):
        ModelConfig(mask_patch=0)


def test_weights_hash_by_their_values_in_whatever_form_they_lie(network, tmp_path):
    checkpoint.save(tmp_path / "folder", network, ModelConfig())
    torch.save(network.state_dict(), tmp_path / "authors.pth")
    hashes = {checkpoint.hash_weights(checkpoint.load(tmp_path / name)[0]) for name in ("folder", "authors.pth")}
    assert hashes == {checkpoint.hash_weights(network)}
    other = seeded_network()
    other.decode_head.conv_seg.bias.data[0] += 1
    assert checkpoint.hash_weights(other) not in hashes


def test_weights_that_are_no_numbers_are_refused(network, tmp_path):
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state["decode_head.conv_seg.bias"][0] = float("nan")
    save_file(state, tmp_path / "diverged.safetensors")
    with pytest.raises(InputError, match=r"not finite \(decode_head\.conv_seg\.bias"):
        checkpoint.load(tmp_path / "diverged.safetensors")


def test_an_unknown_name_and_an_empty_folder_are_answered_with_what_there_is(tmp_path):
    for name in ("no-such-model", tmp_path):
        with pytest.raises(InputError, match="training run"):
            checkpoint.load(name)


KILLED_WHILE_WRITING = """
import resource, signal, sys
from bpr_cli.network import checkpoint, hrnet
module, config = checkpoint.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
checkpoint.save(sys.argv[2], module, config)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_what_a_process_killed_in_the_middle_of_the_weights_left_is_gone_after_the_next_save(small_model, tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, small_model, tmp_path / "new"], check=False)
    assert killed.returncode == -signal.SIGXFSZ
    assert list((tmp_path / "new").iterdir())
    checkpoint.save(tmp_path / "new", *checkpoint.load(small_model))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["config.json", "model.safetensors"]
