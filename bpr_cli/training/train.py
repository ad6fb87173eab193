"""`bpr train`: from patch shards to a refiner.

The order of patches and their augmentation are functions of (seed, step), so a run that was killed goes on exactly
where its last saved state was, and a run on two processes takes the same steps as on one, but for rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bpr_cli.engines.devices import autocast_dtype, precision_name
from bpr_cli.errors import InputError, to_install
from bpr_cli.files import PathLike, as_path, as_paths
from bpr_cli.network import checkpoint, networks
from bpr_cli.stores.staging import shard_folders
from bpr_cli.training.batch_norm import synchronise_batch_norm
from bpr_cli.training.distributed import Process, from_leader, joined_process, on_each
from bpr_cli.training.loading import default_workers
from bpr_cli.training.loop import Training, TrainingDivergedError, TrainingSummary
from bpr_cli.training.patch_sets import PatchSets, fingerprint_shards, read_patch_sets
from bpr_cli.training.recipe import Recipe, choose_recipe
from bpr_cli.training.run_folder import foreign_state, locked
from bpr_cli.training.run_record import Opened, deciding, describe, open_run, write_record

__all__ = ["TrainingDivergedError", "TrainingSummary", "train"]


def train(
    patches: PathLike | Sequence[PathLike],
    out: PathLike,
    recipe: Recipe | None = None,
    *,
    init: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    validate_every: int = 500,
    save_every: int = 250,
    resume: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
) -> TrainingSummary:
    """Train a refiner on patch shards.

    Args:
        patches: folders made by `extract`, also in a store; their train shards are trained on, their val shards
            validated on.
        out: the run's folder (see `run_folder`).
        recipe: network, optimiser, schedule, loss, augmentation (`choose_recipe`); None: the default one, on
            `init`'s network.
        init: a model whose weights to begin from: anything that `refine --model` takes.
        device, precision: as in `engines.devices`; with `resume`, "auto" is the precision that the run began in.
        workers: processes that read patches ahead; None: as `loading.default_workers`.
        validate_every, save_every: steps between validations and between saved states.
        resume: continue the run in `out` if there is one.
        tensorboard: also write TensorBoard event files to `out`.
        quiet: no progress bar.

    Raises:
        InputError: patches, settings or an existing run do not fit, another process trains in `out`, or the batch does
            not fit the device's memory.
        OSError: the disk is full or the like; a ConnectionError: another process of the run was killed.
        ToldElsewhereError: under torchrun, where another process raises one of these.
        TrainingDivergedError: the loss or the weights became NaN or infinite.
    """
    with joined_process(device) as process, ExitStack() as stack:
        out = as_path(out, "out")
        if recipe is None:
            recipe = choose_recipe("default", None if init is None else checkpoint.load_config(init))
        if not isinstance(recipe, Recipe):
            raise InputError(f"recipe is {type(recipe).__name__}", remedy="Give Recipe(...) or choose_recipe(...)")
        _check_counts(workers, validate_every=validate_every, save_every=save_every)
        if tensorboard and find_spec("tensorboard") is None:
            raise InputError("TensorBoard is not installed", remedy=to_install("tensorboard"))
        folders = as_paths(shard_folders(patches, stack, quiet=quiet), "patches")
        ready = _Ready.on_this(process, recipe, folders, init, precision)
        shards = _common_shards(ready.data, process)

        def begin() -> Opened:
            stack.enter_context(locked(out))
            now = describe(
                recipe,
                init=ready.init,
                precision=precision_name(ready.dtype),
                validate_every=validate_every,
                save_every=save_every,
                shards=shards,
                manifests=ready.data.manifests,
                device=str(process.device),
                processes=process.world,
            )
            return open_run(out, now, resume, precision == "auto")

        training = _begin(begin, ready, recipe, process, out)
        if workers is None:
            workers = default_workers(process.device.type, process.on_machine)
        quiet = quiet or not process.leads
        try:
            training.go(workers, validate_every, save_every, tensorboard=tensorboard, quiet=quiet)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"a batch of {recipe.batch_size} does not fit the memory of {process.device}",
                remedy="Choose a smaller --batch-size or --input-size",
            ) from error
        return training.summary()


@dataclass(frozen=True, slots=True)
class _Ready:
    """What each process reads for itself: patches, precision, the network on its device.

    Attributes:
        init: what the weights began from, for the record; None: random ones.
    """

    data: PatchSets
    dtype: torch.dtype | None
    network: nn.Module
    init: dict[str, str] | None

    @classmethod
    def on_this(
        cls, process: Process, recipe: Recipe, folders: Sequence[Path], init: str | None, precision: str
    ) -> _Ready:
        """Read it; what is wrong on one process is raised on all."""
        ready: list[_Ready] = []

        def read() -> None:
            data = read_patch_sets(folders)
            dtype = training_dtype(process.device, precision)
            ready.append(cls(data, dtype, *_build(recipe, init, process)))

        on_each(process, read)
        return ready[0]


def _common_shards(data: PatchSets, process: Process) -> list[dict[str, Any]]:
    """The shards' fingerprints; InputError unless every machine has the same."""
    found = on_each(process, lambda: fingerprint_shards(data) if process.local_rank == 0 else None)
    first, *others = [(rank, shards) for rank, shards in enumerate(found) if shards is not None]
    for rank, shards in others:
        if shards != first[1]:
            raise InputError(
                f"the patches of process {rank} are others than those of process {first[0]}",
                remedy="Give the same shards on all machines",
            )
    return first[1]


def training_dtype(device: torch.device, precision: str) -> torch.dtype | None:
    """`autocast_dtype`, where it can be trained in.

    Raises:
        InputError: no such precision, or float16 where torch cannot scale the loss for it.
    """
    if precision == "fp16" and device.type != "cuda":
        raise InputError(f"training in fp16 needs CUDA, this is {device}", remedy="Use --precision auto, bf16 or fp32")
    return autocast_dtype(device, precision)


def _check_counts(workers: int | None, **steps: int) -> None:
    for name, value in steps.items():
        if type(value) is not int or value < 1:
            raise InputError(f"{name} is {value!r}", remedy="Choose 1 or more")
    if workers is not None and (type(workers) is not int or workers < 0):
        raise InputError(f"workers is {workers!r}", remedy="Choose 0 or more")


def _build(recipe: Recipe, init: str | None, process: Process) -> tuple[nn.Module, dict[str, str] | None]:
    """The network on its device, and what its weights began from: for the record.

    Raises:
        InputError: `init` is no model, or one of another network; or the batch cannot be shared equally.
    """
    if recipe.batch_size % process.world:
        raise InputError(
            f"a batch of {recipe.batch_size} cannot be shared equally by {process.world} processes",
            remedy="Choose a multiple with --batch-size",
        )
    torch.manual_seed(recipe.seed)
    network: nn.Module = networks.build(recipe.network, recipe.mask_patch)
    start = None
    if init is not None:
        module, config = checkpoint.load(init)
        if config.network != recipe.network:
            raise InputError(f"{init} is a {config.network}, not a {recipe.network}", remedy="Leave --network out")
        if config.mask_patch != recipe.mask_patch:
            raise InputError(
                f"{init} was trained {'with' if config.mask_patch else 'without'} the mask patch",
                remedy="Leave --mask-patch and --no-mask-patch out",
            )
        if config.input_size != recipe.input_size and process.leads:
            warnings.warn(
                f"{init} was trained at {config.input_size} px; here its patches are shown at {recipe.input_size} px",
                stacklevel=3,
            )
        network.load_state_dict(module.state_dict())
        start = {"model": str(init), "weights": checkpoint.hash_weights(module)}
    if process.world > 1:
        network = synchronise_batch_norm(network, process.device, process.world)
    return network.to(process.device, memory_format=torch.channels_last), start  # type: ignore[call-overload]


def _begin(begin: Callable[[], Opened], ready: _Ready, recipe: Recipe, process: Process, out: Path) -> Training:
    """The run, begun or put back to where it was; run.json is written when nothing can go wrong any more.

    What `begin` finds on the leading process holds for all: the precision, the state to go on from, or the weights to
    begin with. Others need not see the run's folder.
    """

    def decide() -> tuple[Opened, dict[str, Tensor] | None]:
        opened = begin()
        if opened.state is not None or process.world == 1:
            return opened, None
        return opened, {name: tensor.cpu() for name, tensor in ready.network.state_dict().items()}

    opened, weights = from_leader(process, decide)
    if weights is not None:
        ready.network.load_state_dict(weights)
    dtype = training_dtype(process.device, opened.record["precision"])
    training = Training(ready.network, recipe, ready.data, process, dtype, out, deciding(opened.record))
    if opened.state is not None:
        try:
            training.restore(opened.state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise foreign_state(out) from error
    if process.leads:
        write_record(out, opened.record)
    return training
