"""Which patches make which batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpr_cli.training.loading import StepSampler, default_workers

sizes = st.integers(3, 40)
batch_sizes = st.integers(2, 12)


@given(size=sizes, batch_size=batch_sizes, first=st.integers(0, 30), seed=st.integers(0, 5))
def test_a_restart_continues_the_same_sequence(size, batch_size, first, seed):
    whole = list(StepSampler(size, batch_size, 30, seed))
    assert list(StepSampler(size, batch_size, 30, seed, first_step=first)) == whole[first:]


@given(size=sizes, batch_size=batch_sizes, world=st.integers(1, 4))
def test_processes_share_the_batch_of_one_process(size, batch_size, world):
    alone = list(StepSampler(size, batch_size, 10, 0))
    shares = [list(StepSampler(size, batch_size, 10, 0, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(alone):
        assert sorted(index for share in shares for index in share[step]) == sorted(batch)


@given(batches=st.integers(1, 6), batch_size=batch_sizes)
def test_an_epoch_shows_each_patch_once(batches, batch_size):
    size = batches * batch_size
    epoch = [index for batch in StepSampler(size, batch_size, batches, 0) for index in batch]
    assert sorted(epoch) == list(range(size))


def test_epochs_and_seeds_differ_in_order():
    epochs = list(StepSampler(8, 8, 2, 0))
    assert epochs[0] != epochs[1]
    assert epochs[0] != next(iter(StepSampler(8, 8, 1, 1)))


@pytest.mark.parametrize(
    ("device", "cores", "processes", "expected"),
    [("cpu", 64, 1, 1), ("cuda", 64, 1, 8), ("cuda", 16, 4, 4), ("cuda", 4, 8, 1), ("mps", None, 1, 1)],
)
def test_workers_share_the_cores(device, cores, processes, expected, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert default_workers(device, processes) == expected
