"""Batches of patches filled across instances and images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpr_cli.refining.looks import Look, Refined

MOST_WAITING = 4  # subjects held for each place of a batch; each holds a mask at least

Predict = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


class Answer(NamedTuple):
    """A look with the foreground probabilities (N, P, P), float32, that the network gave for it."""

    look: Look
    probabilities_NPP: NDArray[np.float32]


class _Batch:
    """Patches that go through the network together, each with the place where its answer belongs."""

    def __init__(self, predict: Predict, size: int) -> None:
        self.predict, self.size = predict, size
        self.parts: list[tuple[Answer, slice]] = []
        self.free = size

    def add(self, answer: Answer, start: int) -> int:
        """Take as many of an answer's patches as fit, from `start` on; returns where those end."""
        stop = min(len(answer.probabilities_NPP), start + self.free)
        self.parts.append((answer, slice(start, stop)))
        self.free -= stop - start
        return stop

    def run(self) -> None:
        """Fill in the answers and begin an empty batch."""
        if not self.parts:
            return
        images = np.concatenate([answer.look.images_NHWC[part] for answer, part in self.parts])
        masks = np.concatenate([answer.look.masks_NHW[part] for answer, part in self.parts])
        probabilities = self.predict(images, masks)
        position = 0
        for answer, part in self.parts:
            count = part.stop - part.start
            answer.probabilities_NPP[part] = probabilities[position : position + count]
            position += count
        self.parts, self.free = [], self.size


def predict_looks(
    items: Iterable[Look | Refined], predict: Predict, patch_size: int, batch_size: int
) -> Iterator[Answer | Refined]:
    """Run the network on batches of `batch_size` patches, filled across looks.

    Yields:
        Each look with its answer, and each refined subject as it is, in the order given. They are drawn only as batches
        need them, and a batch goes as it is when MOST_WAITING times as many of them as it has places wait for it, so
        memory is bounded by the batch and the largest look.
    """
    waiting: deque[Answer | Refined] = deque()  # from the first that is not fully answered on
    batch = _Batch(predict, batch_size)
    for item in items:
        if isinstance(item, Refined):
            waiting.append(item)
        else:
            count = len(item.boxes)
            answer = Answer(item, np.empty((count, patch_size, patch_size), np.float32))
            waiting.append(answer)
            stop = 0
            while stop < count:
                stop = batch.add(answer, stop)
                if not batch.free:
                    batch.run()
                    yield from (waiting.popleft() for _ in range(len(waiting) - (stop < count)))
        if len(waiting) >= MOST_WAITING * batch_size:
            batch.run()
        if not batch.parts:
            yield from waiting
            waiting.clear()
    batch.run()
    yield from waiting
