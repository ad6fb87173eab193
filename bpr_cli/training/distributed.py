"""Several processes: who we are under torchrun, how all of them come to one decision, and to one end."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from bpr_cli.engines.devices import choose_device
from bpr_cli.errors import InputError, ToldElsewhereError
from bpr_cli.processes import end_with_parent
from bpr_cli.training.averaging import added_over_processes

T = TypeVar("T")

START, START_POLL = "start", 0.05  # in torchrun's store: the name of the last start; seconds between looks at it
TOLD = "told"  # in the store that all processes share: how many of them had something to say of their end


@dataclass(frozen=True, slots=True)
class Process:
    """This process's place in the run.

    Attributes:
        rank, world: its number and how many there are; 0 and 1 without torchrun.
        device: where it computes.
        local_rank: its number among those on this machine.
        on_machine: how many of them share this machine.
    """

    rank: int
    world: int
    device: torch.device
    local_rank: int = 0
    on_machine: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0


@contextmanager
def joined_process(device: str) -> Iterator[Process]:
    """Join torchrun's process group if it started us (RANK, WORLD_SIZE), and leave it at the end.

    An error of one process ends all of them: it is raised there, and tells what is wrong; the others raise
    `ToldElsewhereError`.

    Args:
        device: "auto", "cpu", "cuda", ...; under torchrun each process takes the GPU of its local rank.

    Raises:
        InputError: the device is not there.
        ConnectionError: another process was killed; raised by the leading one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Process(0, 1, choose_device(device))
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent()  # torchrun's processes outlive it if it is killed
    try:
        store, rank, world = next(dist.rendezvous("env://"))
        start = dist.PrefixStore(_name_of_start(store, rank, world), store)
    except dist.DistError as error:
        raise ConnectionError("the processes of this run do not find each other") from error
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    with _one_voice(start, rank):
        chosen = choose_device(device)
        if chosen.type == "cuda":
            chosen = torch.device("cuda", local_rank)
            torch.cuda.set_device(chosen)
        _wait_for_others(start, rank, world)
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.PrefixStore("group", start), rank=rank, world_size=world)
        try:
            yield Process(rank, world, chosen, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", world)))
        finally:
            dist.destroy_process_group()


def _name_of_start(store: Any, rank: int, world: int) -> str:
    """A name that all processes of this start agree on, and that no earlier start had.

    Torchrun keeps its store when it starts processes anew, with the addresses of those that are gone: under the same
    names, the new ones would look for them there. The leading process makes a name up; each other one signs under it,
    and takes it for this start's once its signature comes back.
    """
    own = secrets.token_hex(8)
    if rank == 0:
        store.set(START, own)
        signed = [f"{own}/{other}" for other in range(1, world)]
        while not store.check(signed):
            time.sleep(START_POLL)
        store.set(f"{own}/all", b" ".join(store.get(key) for key in signed))
        return own
    while True:
        if store.check([START]):
            name = store.get(START).decode()
            store.set(f"{name}/{rank}", own)
            if store.check([f"{name}/all"]) and own.encode() in store.get(f"{name}/all").split():
                return str(name)
        time.sleep(START_POLL)


def _wait_for_others(store: Any, rank: int, world: int) -> None:
    """Wait until all processes are here; ToldElsewhereError if one of them has ended."""
    store.set(f"here/{rank}", "")
    while not store.check([f"here/{other}" for other in range(world)]):
        if store.check([TOLD]):
            raise ToldElsewhereError
        time.sleep(START_POLL)


@contextmanager
def _one_voice(store: Any, rank: int) -> Iterator[None]:
    """Whatever ends the run, one process says it."""
    try:
        yield
    except Exception as error:
        is_lost = _is_of_lost_process(error)
        try:
            speaks = rank == 0 and not store.check([TOLD]) if is_lost else store.add(TOLD, 1) == 1
        except RuntimeError:  # the store went with the process that kept it
            speaks = not is_lost
        if not speaks:
            raise ToldElsewhereError from error
        if is_lost:
            raise ConnectionError(
                "another process of this run has ended; --resume goes on from the last saved state"
            ) from error
        raise


def _is_of_lost_process(error: Exception) -> bool:
    """Whether torch says so of a connection to another process."""
    return isinstance(error, dist.DistError) or (type(error) is RuntimeError and "gloo" in str(error))


def from_leader(process: Process, decide: Callable[[], T]) -> T:
    """What `decide` answers on the leading process, on all of them; its InputError or OSError is raised on all."""
    if process.world == 1:
        return decide()
    answer: list[Any] = [None]
    if process.leads:
        try:
            answer = [decide()]
        except (InputError, OSError) as error:
            answer = [error]
    dist.broadcast_object_list(answer)
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def on_each(process: Process, work: Callable[[], T]) -> list[T]:
    """What `work` answers on each process, by rank; the first InputError or OSError is raised on all."""
    if process.world == 1:
        return [work()]
    answer: Any
    try:
        answer = work()
    except (InputError, OSError) as error:
        answer = error
    answers: list[Any] = [None] * process.world
    dist.all_gather_object(answers, answer)
    for each in answers:
        if isinstance(each, Exception):
            raise each
    return answers


def sum_over_processes(values: Tensor, process: Process) -> Tensor:
    """The sum of a small tensor (N,) over all processes, in the order of their ranks."""
    return values if process.world == 1 else added_over_processes(values, process.world)
