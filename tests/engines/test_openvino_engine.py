"""OpenVINO computes what torch computes, and converts a network once."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from bpr_cli.engines.engine import open_engine
from bpr_cli.engines.patch_graph import PatchGraph
from bpr_cli.engines.torch_engine import TorchEngine
from bpr_cli.errors import InputError
from bpr_cli.locks import LOCK, holding
from bpr_cli.network.config import ModelConfig
from tests.network.seeded import seeded_network, seeded_patches

openvino_engine = pytest.importorskip("bpr_cli.engines.openvino_engine", reason="OpenVINO is not installed")

CPU = torch.device("cpu")
CONVERTED: list[object] = []


@pytest.fixture(scope="module")
def network():
    network = seeded_network()
    # Logits spread like a trained network's, so that probabilities differ.
    network.decode_head.conv_seg.weight.data *= 5.0
    return network


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(input_size=128, padding=8),  # 80 px shown at 128: no whole factor
        ModelConfig(input_size=64),
    ],
    ids=["as shipped", "padding", "not enlarged"],
)
def test_probabilities_are_torchs_in_any_batch(network, config, tmp_path):
    images, masks = seeded_patches(5, size=64 + 2 * config.padding)
    engine = openvino_engine.OpenVinoEngine(network, config, "fp32", cache_folder=tmp_path)
    expected = TorchEngine(network, config, CPU, "fp32").predict(images, masks)
    assert expected.std() > 0.05
    together = engine.predict(images, masks)
    assert together.shape == expected.shape == (5, 64, 64)
    assert np.abs(together - expected).max() < 1e-4
    assert np.array_equal(engine.predict(images[:2], masks[:2]), together[:2])
    assert engine.predict(images[:0], masks[:0]).shape == (0, 64, 64)
    flipped = TorchEngine(network, config, CPU, "fp32").predict(images, masks, flips=True)
    assert np.abs(engine.predict(images, masks, flips=True) - flipped).max() < 1e-4


def test_a_network_is_converted_once_and_another_one_anew(network, tmp_path, monkeypatch):
    images, masks = seeded_patches(2)
    first = openvino_engine.OpenVinoEngine(network, ModelConfig(), "fp32", cache_folder=tmp_path).predict(images, masks)

    def fail(graph):
        raise AssertionError("converted again")

    with monkeypatch.context() as patched:
        patched.setattr(openvino_engine, "convert", fail)
        again = openvino_engine.OpenVinoEngine(network, ModelConfig(), "fp32", cache_folder=tmp_path).predict(
            images, masks
        )
        assert np.array_equal(first, again)
        other = seeded_network()
        with pytest.raises(AssertionError, match="converted again"):
            openvino_engine.OpenVinoEngine(other, ModelConfig(), "fp32", cache_folder=tmp_path)
        with pytest.raises(AssertionError, match="converted again"):
            openvino_engine.OpenVinoEngine(network, ModelConfig(input_size=64), "fp32", cache_folder=tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [""]


def test_without_room_for_the_cache_it_warns_and_works(network, tmp_path):
    (tmp_path / "file").write_text("")
    images, masks = seeded_patches(1)
    with pytest.warns(UserWarning, match="no room for the converted network"):
        engine = openvino_engine.OpenVinoEngine(
            network, ModelConfig(input_size=64), "fp32", cache_folder=tmp_path / "file" / "cache"
        )
    assert engine.predict(images, masks).shape == (1, 64, 64)


@pytest.fixture
def converted_once(network, monkeypatch):
    """Conversions of the network at 64 px give the model that is already there: they take seconds."""
    if not CONVERTED:
        CONVERTED.append(openvino_engine.convert(PatchGraph(network, ModelConfig(input_size=64))))
    monkeypatch.setattr(openvino_engine, "convert", lambda graph: CONVERTED[0])


def cached_files(folder):
    (cached,) = folder.iterdir()
    return {path.name: path for path in cached.iterdir()}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.bin", lambda content: content[: len(content) // 2]),
        ("model.bin", lambda content: b""),
        ("model.bin", lambda content: content[:-4000] + bytes(4000)),  # what a power cut leaves: the right size
        ("model.bin", None),
        ("model.xml", lambda content: content[: len(content) // 2]),
        ("model.xml", lambda content: b"\xff\x00"),
        ("sha256", lambda content: b""),
        ("sha256", None),
    ],
)
def test_a_broken_cache_is_made_again_and_the_answers_stay(network, converted_once, tmp_path, name, damage):
    config, (images, masks) = ModelConfig(input_size=64), seeded_patches(2)
    first = openvino_engine.OpenVinoEngine(network, config, "fp32", cache_folder=tmp_path).predict(images, masks)
    whole = {name: path.read_bytes() for name, path in cached_files(tmp_path).items()}
    victim = cached_files(tmp_path)[name]
    if damage is None:
        victim.unlink()
    else:
        victim.write_bytes(damage(victim.read_bytes()))
    again = openvino_engine.OpenVinoEngine(network, config, "fp32", cache_folder=tmp_path).predict(images, masks)
    assert np.array_equal(first, again)
    assert {name: path.read_bytes() for name, path in cached_files(tmp_path).items()} == whole


def test_the_answers_do_not_depend_on_whether_there_is_room_for_the_cache(network, converted_once, tmp_path):
    config, (images, masks) = ModelConfig(input_size=64), seeded_patches(4)
    cached = openvino_engine.OpenVinoEngine(network, config, "fp32", cache_folder=tmp_path / "cache")
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="no room"):
        bare = openvino_engine.OpenVinoEngine(network, config, "fp32", cache_folder=tmp_path / "file")
    assert np.array_equal(cached.predict(images, masks), bare.predict(images, masks))


def test_a_full_disk_leaves_no_cache_and_a_warning(network, converted_once, tmp_path, monkeypatch):
    def fail(model, path, **options):
        path.with_suffix(".bin").write_bytes(b"half")
        raise RuntimeError("basic_ios::clear: iostream error")

    config = ModelConfig(input_size=64)
    with monkeypatch.context() as patched:
        patched.setattr(openvino_engine.openvino, "save_model", fail)
        with pytest.warns(UserWarning, match="no room"), pytest.raises(OSError, match="is the disk full"):
            openvino_engine.OpenVinoEngine(network, config, "fp32", cache_folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_conversions_left_is_removed_and_what_running_ones_write_is_not(network, converted_once, tmp_path):
    def open_beside_leftovers():
        for name in ("dead.part", "running.part"):
            (tmp_path / name).mkdir(exist_ok=True)
        with holding(tmp_path / "running.part" / LOCK):
            openvino_engine.OpenVinoEngine(network, ModelConfig(input_size=64), "fp32", cache_folder=tmp_path)
        return sorted(path.name for path in tmp_path.iterdir() if path.suffix)

    assert open_beside_leftovers() == ["running.part"]
    assert open_beside_leftovers() == ["running.part"]  # though nothing is to be converted any more


def test_the_cache_and_the_8_bit_form_do_not_ask_how_a_network_was_trained(network):
    keys = {openvino_engine.weights_key(network, ModelConfig(scheme=scheme)) for scheme in (None, "dense", "grid")}
    assert len(keys) == 1


def test_the_engine_is_chosen_by_name_and_device(network, monkeypatch):
    assert open_engine(network, ModelConfig(input_size=64), CPU).name == "openvino"
    assert open_engine(network, ModelConfig(input_size=64), CPU, name="torch").name == "torch"
    with pytest.raises(InputError, match="no engine 'tensorflow'"):
        open_engine(network, ModelConfig(), CPU, name="tensorflow")
    with pytest.raises(InputError, match="fp16"):
        open_engine(network, ModelConfig(), CPU, "fp16", "openvino")
    with pytest.raises(InputError, match="not on meta"):
        open_engine(network, ModelConfig(), torch.device("meta"), name="openvino")
    monkeypatch.setattr("bpr_cli.engines.engine.find_spec", lambda name: None)
    assert open_engine(network, ModelConfig(input_size=64), CPU).name == "torch"
    with pytest.raises(InputError, match=r"boundary-patch-refinement\[openvino\]"):
        open_engine(network, ModelConfig(), CPU, name="openvino")


def test_signals_are_handled_after_engines_are_closed_in_any_order():
    """In a process of its own: what this guards against ends it."""
    script = (
        "import faulthandler, signal\n"
        "faulthandler.enable()\n"
        "from bpr_cli import Refiner\n"
        "first, second = (Refiner.from_pretrained('davis-fast', 'cpu', engine='openvino') for _ in range(2))\n"
        "del first\n"
        "del second\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
