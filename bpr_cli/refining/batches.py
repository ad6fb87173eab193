"""Batches of patches filled across instances and images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpr_cli.refining.looks import NO_PHOTO, Look, Refined

MOST_WAITING = 4  # subjects held for each place of a batch; each holds a mask at least
# Photos and masks of what waits for a batch to fill. 512 MiB are 7 photos of 24 million pixels, and more of usual
# sizes than a batch of 256 patches spans, so that those batches stay full.
MOST_BYTES_WAITING = 512 << 20

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
        masks = np.concatenate([answer.look.masks[part] for answer, part in self.parts])
        probabilities = self.predict(images, masks)
        position = 0
        for answer, part in self.parts:
            count = part.stop - part.start
            answer.probabilities_NPP[part] = probabilities[position : position + count]
            position += count
        self.parts, self.free = [], self.size


class _Waiting:
    """What waits for answers, in order, and the bytes of its photos and masks. Looks at one photo follow each other."""

    def __init__(self) -> None:
        self.items: deque[Answer | Look | Refined] = deque()
        self.bytes = 0
        self._photo_HWC = NO_PHOTO

    def bytes_with(self, item: Look | Refined) -> int:
        """What `bytes` would be with one more."""
        return self.bytes + item.mask_bytes + self._bytes_of_new_photo(item)

    def add(self, entry: Answer | Look | Refined) -> None:
        """Put one at the end."""
        item = entry.look if isinstance(entry, Answer) else entry
        self.bytes = self.bytes_with(item)
        if isinstance(item, Look) and item.subject.image_HWC.size:
            self._photo_HWC = item.subject.image_HWC
        self.items.append(entry)

    def take(self, left: int = 0) -> Iterator[Answer | Look | Refined]:
        """Take all but the last `left`."""
        taken = [self.items.popleft() for _ in range(len(self.items) - left)]
        rest = list(self.items)
        self.items.clear()
        self.bytes, self._photo_HWC = 0, NO_PHOTO
        for entry in rest:
            self.add(entry)
        while taken:  # popped, not iterated: nothing here shall keep a photo alive that was handed on
            yield taken.pop(0)

    def _bytes_of_new_photo(self, item: Look | Refined) -> int:
        if isinstance(item, Refined) or item.subject.image_HWC is self._photo_HWC:
            return 0
        return item.subject.image_HWC.nbytes


def predict_looks(
    items: Iterable[Look | Refined],
    predict: Predict,
    patch_size: int,
    batch_size: int,
    most_bytes: int = MOST_BYTES_WAITING,
    number: int = 0,
) -> Iterator[Answer | Look | Refined]:
    """Run the network on batches of `batch_size` patches, filled across looks.

    Args:
        items: drawn only as batches need them. Those of one photo follow each other.
        predict: the network.
        patch_size: side of its answers.
        batch_size: patches of a batch.
        most_bytes: photos and masks that may wait for a batch to fill; a single look may exceed it.
        number: of the pass that the network is for; looks of later passes go by.

    Yields:
        Each look with its answer, looks of other passes and refined subjects as they are, in the order given. A batch
        goes as it is, not full, when more would wait for it than `most_bytes`, or MOST_WAITING times as many subjects
        as it has places. So memory is bounded by the batch, `most_bytes` and the largest look, and what makes a batch
        depends on the looks alone.
    """
    waiting, batch = _Waiting(), _Batch(predict, batch_size)
    for item in items:
        if batch.parts and waiting.bytes_with(item) > most_bytes:
            batch.run()
            yield from waiting.take()
        if isinstance(item, Refined) or item.number != number:
            waiting.add(item)
        else:
            count = len(item.boxes)
            answer = Answer(item, np.empty((count, patch_size, patch_size), np.float32))
            waiting.add(answer)
            stop = 0
            while stop < count:
                stop = batch.add(answer, stop)
                if not batch.free:
                    batch.run()
                    # All but the last of a full batch are complete; the last one is if it ended with the batch.
                    yield from waiting.take(left=int(stop < count))
        if len(waiting.items) >= MOST_WAITING * batch_size:
            batch.run()
        if not batch.parts:
            yield from waiting.take()
    batch.run()
    yield from waiting.take()
