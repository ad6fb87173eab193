"""Three things at once, in order and with bounded memory: reading, the network, pasting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    executor: Executor,
    work: Callable[[T], R],
    items: Iterable[T],
    ahead: int,
    weigh: Callable[[T], int] = lambda item: 0,
    most: int = 0,
) -> Iterator[R]:
    """`work` of each item, in the items' order, at most `ahead` of them begun and not yet taken.

    Work goes on while the caller is busy with what it took. When the caller stops early, or an item fails, what has
    not begun is dropped.

    Args:
        executor: does the work.
        work: done to each item.
        items: drawn as there is room for them.
        ahead: how many may be begun and not yet taken.
        weigh: what the result of an item will weigh (bytes).
        most: weight of all that may be begun and not yet taken; a single item may exceed it.
    """
    pending: deque[Future[R]] = deque()
    weights: deque[int] = deque()
    try:
        for item in items:
            weight = weigh(item)
            while pending and (len(pending) >= ahead or sum(weights) + weight > most):
                weights.popleft()
                yield pending.popleft().result()
            pending.append(executor.submit(work, item))
            weights.append(weight)
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
