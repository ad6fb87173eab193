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
TOLERANCE = 1e-2  # of probabilities, on average; kernels chosen anew may round otherwise, a broken graph is far off


class Recording:
    """Replays a computation for the largest batch that came often, once that is recorded.

    Args:
        record: turns a computation and an example of its input into a replay, which may give the same tensor each
            time, overwritten. `record_cuda_graph`, or None where nothing can be recorded.
    """

    def __init__(self, record: Record | None) -> None:
        self._record = record
        self._seen: Counter[torch.Size] = Counter()
        self._shape = torch.Size((0,))
        self._replay: Compute | None = None

    def run(self, compute: Compute, inputs: Tensor) -> Tensor:
        """`compute(inputs)`, valid until the next call; `compute` must be the same for all inputs of a shape."""
        if self._replay is not None and inputs.shape == self._shape:
            return self._replay(inputs)
        outputs = compute(inputs)
        if self._record is not None and len(inputs) > self._shape[0]:
            self._seen[inputs.shape] += 1
            if self._seen[inputs.shape] == RECORD_AT:
                self._try(self._record, compute, inputs, outputs)
        return outputs

    def forget(self) -> bool:
        """Give the recording's memory back, and record no more; whether there was one."""
        held = self._replay is not None
        self._record = self._replay = None
        return held

    def _try(self, record: Record, compute: Compute, inputs: Tensor, expected: Tensor) -> None:
        try:
            replay = record(compute, torch.zeros_like(inputs))  # not the inputs: a replay must heed those it gets
            difference = float((replay(inputs) - expected).abs().mean())
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            problem = f"cannot be recorded as a CUDA graph ({reason})"
        else:
            if difference <= TOLERANCE:
                self._shape, self._replay = inputs.shape, replay
                return
            problem = f"gives other probabilities as a CUDA graph, by {difference:.2g} on average"
        self.forget()
        warnings.warn(f"the network {problem}; its kernels go on being launched one by one", stacklevel=1)


def record_cuda_graph(compute: Compute, example: Tensor) -> Compute:
    """Record a computation on the example's device; the example is not changed.

    Raises:
        RuntimeError: out of memory, or the computation does what a graph cannot hold.
    """
    with torch.cuda.device(example.device):
        inputs = example.clone()
        # Warm-up and recording share a stream other than the default one, as graphs demand.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                compute(inputs)
            # "thread_local": threads that read photos meanwhile are no danger to it.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                outputs = compute(inputs)

    def replay(new: Tensor) -> Tensor:
        inputs.copy_(new)
        graph.replay()
        return outputs

    return replay
