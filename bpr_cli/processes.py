"""Worker processes that never outlive their parent, and signals that end everything in order.

Ctrl-C reaches every process of a terminal's group; only the parent answers it. A worker that the parent cannot end any
more, because it was killed itself, sees the parent go and ends on its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType
from typing import NoReturn

from bpr_cli.errors import InputError, ToldElsewhereError

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
PARENT_POLL = 0.5  # seconds between looks at whether the parent is still there


class Terminated(KeyboardInterrupt):
    """SIGTERM: dealt with like Ctrl-C, by everything that deals with that."""


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """128 and the signal's number, as shells report it."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def raise_on_signals() -> None:
    """Let SIGTERM raise `Terminated` in the main thread, as SIGINT raises KeyboardInterrupt."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _raise_terminated)


def ignore_signals() -> None:
    """From here on the process is ending already."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _raise_terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


@contextmanager
def signals_held() -> Iterator[None]:
    """Processes started within are not reached by signals before `begin_worker` says how they take them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would unblock them when it starts with the first worker (to Python 3.12)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(_worker: int = 0) -> None:
    """To be called first in every worker: it leaves Ctrl-C to its parent and ends when that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
    sys.excepthook = _report_fault
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _begin_pool_worker(begin: Callable[[], object] | None) -> None:
    begin_worker()
    if begin is not None:
        begin()


def _report_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """As Python does, but for connections that the parent breaks by ending, which multiprocessing reports this way."""
    if not issubclass(kind, ConnectionError):
        sys.__excepthook__(kind, error, trace)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def end_with_parent() -> None:
    """From here on this process ends when the one that started it does, even if that is killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def is_leading() -> bool:
    """Whether this process speaks for all of its run: the first of torchrun's, or the only one."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 or int(os.environ.get("RANK", "0")) == 0


@contextmanager
def one_voice_a_machine() -> Iterator[None]:
    """Of torchrun's processes, which share a command line, the first on each machine says what is wrong with it."""
    try:
        yield
    except InputError as error:
        if int(os.environ.get("LOCAL_RANK", "0")) > 0:
            raise ToldElsewhereError from error
        raise


@contextmanager
def worker_pool(processes: int, begin: Callable[[], object] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned workers. On any failure, Ctrl-C too, they are ended at once, whatever they are at.

    Work is to be submitted within `signals_held`.

    Args:
        processes: how many workers.
        begin: called first in each of them.

    Raises:
        InputError: a worker was killed from outside.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_pool_worker, initargs=(begin,))
    try:
        yield pool
    except BaseException as error:
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                "a worker process was killed from outside, perhaps for want of memory",
                remedy="Run it again with fewer --processes",
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)
