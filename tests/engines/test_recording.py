"""Recording: a shape that comes again and again is replayed, and the answers stay what they were."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from bpr_cli.engines.recording import RECORD_AT, Recording, record_cuda_graph
from bpr_cli.engines.torch_engine import TorchEngine
from bpr_cli.network.config import ModelConfig
from tests.engines.test_engine import Greedy
from tests.network.seeded import seeded_network, seeded_patches

CPU = torch.device("cpu")


class Recorder:
    """Does on any device what a CUDA graph does: one input tensor, one output tensor, both overwritten."""

    def __init__(self, error: float = 0.0) -> None:
        self.error, self.recorded, self.replays = error, [], 0

    def __call__(self, compute, example):
        inputs, outputs = example.clone(), compute(example).clone()
        self.recorded.append(tuple(example.shape))

        def replay(new):
            self.replays += 1
            inputs.copy_(new)
            return outputs.copy_(compute(inputs) + self.error)

        return replay


def run_often(recording, inputs):
    for _ in range(RECORD_AT):
        recording.run(torch.sin, inputs)


def fail(compute, example):
    raise RuntimeError("operation not permitted when stream is capturing\nmore words")


@pytest.mark.parametrize("flips", [False, True])
def test_full_batches_are_replayed_and_every_answer_is_what_it_was(flips):
    network, recorder = seeded_network(), Recorder()
    plain = TorchEngine(network, ModelConfig(), CPU, "fp32")
    engine = TorchEngine(network, ModelConfig(), CPU, "fp32")
    engine.recordings[flips] = Recording(recorder)
    images, masks = seeded_patches(16)
    answers = []
    for start in (0, 4, 8, 12, 1, 5):  # all but the fourth are batches of 4
        stop = 15 if start == 12 else start + 4
        answers.append((start, stop, engine.predict(images[start:stop], masks[start:stop], flips)))
    for start, stop, answer in answers:
        assert np.abs(answer - plain.predict(images[start:stop], masks[start:stop], flips)).max() < 1e-5
    assert recorder.recorded == [(4, 4, 128, 128)]
    assert recorder.replays == 3  # the trial, and the last two batches


def test_a_small_job_records_nothing():
    recorder = Recorder()
    recording = Recording(recorder)
    for size in (1, 2, 3):
        for _ in range(RECORD_AT - 1):
            recording.run(torch.sin, torch.ones(size))
    assert recorder.recorded == []


@pytest.mark.parametrize(
    ("record", "words"), [(fail, "not permitted when stream is capturing"), (Recorder(0.1), "0.1")]
)
def test_what_cannot_be_recorded_is_said_once_and_computed_as_before(record, words):
    recording = Recording(record)
    with pytest.warns(UserWarning, match=words):
        run_often(recording, torch.linspace(0, 1, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in (5, 5, 6, 6, 6, 6):
            inputs = torch.rand(size)
            assert torch.equal(recording.run(torch.sin, inputs), torch.sin(inputs))


def test_answers_that_are_no_numbers_are_not_recorded():
    with pytest.warns(UserWarning, match="nan"):
        run_often(Recording(Recorder(float("nan"))), torch.ones(2))


def test_a_replay_that_does_not_heed_its_input_is_refused():
    def record_deaf(compute, example):
        answer = compute(example)
        return lambda new: answer

    with pytest.warns(UserWarning, match="other probabilities"):
        run_often(Recording(record_deaf), torch.ones(2))


def test_a_larger_batch_takes_the_recordings_place():
    recorder = Recorder()
    recording = Recording(recorder)
    for size in (2, 5, 3):
        run_often(recording, torch.rand(size))
    assert recorder.recorded == [(2,), (5,)]
    replays = recorder.replays
    inputs = torch.rand(5)
    assert torch.equal(recording.run(torch.sin, inputs), torch.sin(inputs))
    assert recorder.replays == replays + 1


def test_out_of_memory_first_gives_the_recordings_memory_back_then_halves_the_batch():
    engine, recorder = TorchEngine(Greedy(4), ModelConfig(), CPU, "fp32"), Recorder()
    engine.recordings[False] = Recording(recorder)
    images, masks = seeded_patches(12)
    for _ in range(RECORD_AT + 1):
        engine.predict(images[:4], masks[:4])
    replays = recorder.replays
    assert replays
    engine.module.limit = 100
    engine.predict(images, masks)
    assert engine.max_batch is None
    engine.module.limit = 4
    assert engine.predict(images, masks).shape == (12, 64, 64)
    assert engine.max_batch == 3
    engine.max_batch = None
    engine.predict(images[:4], masks[:4])
    assert recorder.replays == replays


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_graph_computes_the_same():
    weights = torch.rand(8, 8, device="cuda")
    inputs = torch.rand(4, 8, device="cuda")
    replay = record_cuda_graph(lambda values: torch.softmax(values @ weights, dim=1), inputs)
    for _ in range(3):
        new = torch.rand_like(inputs)
        assert torch.allclose(replay(new), torch.softmax(new @ weights, dim=1), atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize("flips", [False, True])
def test_on_cuda_an_engine_records_and_answers_as_before(precision, flips):
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    plain = TorchEngine(seeded_network(), ModelConfig(), device, precision)
    engine = TorchEngine(seeded_network(), ModelConfig(), device, precision, cuda_graphs=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(RECORD_AT + 2):
            images, masks = seeded_patches(8)
            images = np.roll(images, seed, axis=1)
            answer = engine.predict(images, masks, flips)
            assert np.abs(answer - plain.predict(images, masks, flips)).mean() < 1e-3
    assert engine.recordings[flips].forget()
