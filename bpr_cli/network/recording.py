"""Computations recorded as CUDA graphs: a replay launches all of a network's kernels (davis-w18s: some 670) at once.

A graph holds for one shape of input, and takes a few batches' time to record, so only a shape that comes again and
again is recorded. What cannot be recorded, or answers otherwise than before, is computed as before.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

Compute = Callable[[Tensor], Tensor]
Record = Callable[[Compute, Tensor], Compute]

RECORD_AT = 3  # times that a shape must have come
WARM_UP = 2  # runs before recording, in which libraries choose their kernels and take their memory
TOLERANCE = 1e-2  # of probabilities; kernels chosen anew round otherwise, a broken graph gives something else entirely


class Recording:
    """Replays a computation for the input shape that comes most, once it is recorded.

    Args:
        record: turns a computation and an example of its input into a replay, which may give the same tensor each
            time, overwritten. `record_cuda_graph`, or None where nothing can be recorded.
    """

    def __init__(self, record: Record | None) -> None:
        self._record = record
        self._seen: Counter[torch.Size] = Counter()
        self._shape: torch.Size | None = None
        self._replay: Compute | None = None

    def run(self, compute: Compute, inputs: Tensor) -> Tensor:
        """`compute(inputs)`; `compute` must be the same for all inputs of a shape."""
        if self._replay is not None and inputs.shape == self._shape:
            return self._replay(inputs)
        outputs = compute(inputs)
        if self._record is not None and self._replay is None:
            self._seen[inputs.shape] += 1
            if self._seen[inputs.shape] == RECORD_AT:
                self._try(self._record, compute, inputs, outputs)
        return outputs

    def forget(self) -> None:
        """Give the recording's memory back, and record no more."""
        self._record = self._replay = None

    def _try(self, record: Record, compute: Compute, inputs: Tensor, expected: Tensor) -> None:
        try:
            replay = record(compute, inputs)
            difference = float((replay(inputs) - expected).abs().max())
        except RuntimeError as error:
            problem = f"cannot be recorded as a CUDA graph ({str(error).splitlines()[0]})"
        else:
            if difference <= TOLERANCE:
                self._shape, self._replay = inputs.shape, replay
                return
            problem = f"gives other probabilities as a CUDA graph, by up to {difference:.2g}"
        self.forget()
        warnings.warn(f"the network {problem}; its kernels go on being launched one by one", stacklevel=2)


def record_cuda_graph(compute: Compute, example: Tensor) -> Compute:
    """Record a computation on the example's device.

    Raises:
        RuntimeError: out of memory, or the computation does what a graph cannot hold.
    """
    with torch.cuda.device(example.device):
        inputs = example.clone()
        # Warm-up and recording share a stream other than the default one, as graphs demand.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                compute(inputs)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": threads that read photos meanwhile are no danger to it.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            outputs = compute(inputs)

    def replay(new: Tensor) -> Tensor:
        inputs.copy_(new)
        graph.replay()
        return outputs

    return replay
