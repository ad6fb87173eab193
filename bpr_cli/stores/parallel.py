"""Several objects at once: a store answers slowly, but many at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from bpr_cli.stores.retrying import stop_trying_when

THREADS = 8


def each_done(work: Callable[..., object], items: Iterable[tuple[Any, ...]]) -> Generator[None, None, None]:
    """Do work with each item's arguments, several at once; yields as each is done, in order.

    At the first failure, Ctrl-C too, nothing is begun any more and nothing is tried again.
    """
    stopped = threading.Event()
    with ThreadPoolExecutor(THREADS, initializer=stop_trying_when, initargs=(stopped,)) as threads:
        futures = [threads.submit(work, *item) for item in items]
        try:
            for future in futures:
                future.result()
                yield
        finally:
            stopped.set()
            for future in futures:
                future.cancel()


def all_done(work: Callable[..., object], items: Iterable[tuple[Any, ...]]) -> None:
    """Do work with each item's arguments; see `each_done`."""
    with closing(each_done(work, items)) as done:
        for _ in done:
            pass
