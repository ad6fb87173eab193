"""Inference by OpenVINO on a CPU: the same answers as torch's, faster.

Converting a network takes seconds, so the result is kept in a cache folder beside torch's, under a key made of
everything that decides it, with a checksum. What is there and is not whole is made again.
"""

from __future__ import annotations

import errno
import hashlib
import tempfile
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import nn

from bpr_cli.engines import devices
from bpr_cli.engines.devices import INT8, autocast_dtype, precision_name
from bpr_cli.engines.patch_graph import PatchGraph
from bpr_cli.errors import InputError
from bpr_cli.locks import remove_leftovers, temporary_folder
from bpr_cli.network.checkpoint import hash_weights
from bpr_cli.network.config import ModelConfig

GRAPH_VERSION = "1"  # counts up when PatchGraph computes something else
HINTS = {"fp32": "f32", "bf16": "bf16"}
CONVERTED, WEIGHTS, CHECKSUM = "model.xml", "model.bin", "sha256"
UNFINISHED = ".part"  # folders in the cache that a process is writing
WEIGHTS_KEY = ["bpr", "weights"]  # where an 8-bit model says which weights it was made of


class OpenVinoEngine:
    """A network made ready for inference by OpenVINO.

    Args:
        module: a network of `networks.build`; it is not changed.
        config: what it expects.
        precision: "auto", "int8", "fp32" or "bf16". "auto" is int8 if there is such a file, else as
            `devices.autocast_dtype`.
        int8: the network's 8-bit form.
        cache_folder: for converted networks; None: beside torch's.

    Raises:
        InputError: no such precision here; the 8-bit form is absent, broken, or of other weights.
    """

    name = "openvino"

    def __init__(
        self,
        module: nn.Module,
        config: ModelConfig,
        precision: str = "auto",
        int8: Path | None = None,
        cache_folder: Path | None = None,
    ) -> None:
        self.config = config
        self.device = torch.device("cpu")
        eight_bits = precision == INT8 or (precision == "auto" and int8 is not None)
        # What is not in 8 bits, a small part, is computed in the best that the processor has.
        rest = precision_name(autocast_dtype(self.device, "auto" if eight_bits else precision))
        self.precision = INT8 if eight_bits else rest
        if eight_bits:
            model = _read_int8(int8, module, config)
        else:
            model = _converted(module, config, cache_folder or devices.cache_folder())
        self._compiled = core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": HINTS[rest],
                "PERFORMANCE_HINT": "LATENCY",  # one batch at a time on all threads; two streams gained nothing
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),  # so that OMP_NUM_THREADS holds for both engines
            },
        )

    def predict(
        self, images_NHWC: NDArray[np.uint8], masks: NDArray[np.uint8], flips: bool = False
    ) -> NDArray[np.float32]:
        """Foreground probability of patches; see `engine.Engine`."""
        if len(images_NHWC) == 0:
            return np.empty((0, self.config.patch_size, self.config.patch_size), np.float32)
        probabilities = self._run(images_NHWC, masks)
        if flips:
            mirrored = self._run(images_NHWC[:, :, ::-1], masks[:, :, ::-1])[:, :, ::-1]
            return np.asarray((probabilities + mirrored) / 2, np.float32)
        return probabilities

    def _run(self, images_NHWC: NDArray[np.uint8], masks: NDArray[np.uint8]) -> NDArray[np.float32]:
        inputs = [np.ascontiguousarray(images_NHWC), np.ascontiguousarray(masks)]
        return np.array(self._compiled(inputs)[0], np.float32)  # a copy: OpenVINO uses its memory again


@cache
def core() -> openvino.Core:
    """This process's one OpenVINO.

    Each Core gives the thread a stack for signal handlers. Of two that are freed in the order in which they were made,
    the second puts the first's back, which is gone: the next signal, a Ctrl-C say, ends the process (2026.4).
    """
    return openvino.Core()


def convert(graph: PatchGraph) -> openvino.Model:
    """The graph as an OpenVINO model of any batch size."""
    with warnings.catch_warnings(), torch.no_grad():
        # Shapes decided while tracing are those of this model's patches, as they should be.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tracing that OpenVINO does
        model = openvino.convert_model(graph, example_input=graph.example())
    model.reshape({place: [-1, *tensor.shape[1:]] for place, tensor in enumerate(graph.example())})
    return model


def mark_weights(model: openvino.Model, module: nn.Module, config: ModelConfig) -> None:
    """Note in an 8-bit model which network it was made of."""
    model.set_rt_info(weights_key(module, config), WEIGHTS_KEY)


def _read_int8(path: Path | None, module: nn.Module, config: ModelConfig) -> openvino.Model:
    if path is None:
        raise InputError(
            "the model has no 8-bit form",
            remedy="Make one with bpr export --int8, named int8.xml, beside the weights; or use --precision auto",
        )
    try:
        model = core().read_model(path)
    except RuntimeError as error:
        raise InputError("the 8-bit model cannot be read", file=path, remedy="Make it again: bpr export") from error
    made_of = model.get_rt_info(WEIGHTS_KEY).astype(str) if model.has_rt_info(WEIGHTS_KEY) else None
    if made_of != weights_key(module, config):
        raise InputError(
            "the 8-bit model was made of other weights than those beside it",
            file=path,
            remedy="Delete it, or make it again: bpr export --int8",
        )
    return model


def _converted(module: nn.Module, config: ModelConfig, cache_folder: Path) -> openvino.Model:
    """The network from the cache, or converted and put there.

    It is always one that was written and read: as it comes from the conversion, it rounds in other places.
    """
    remove_leftovers(cache_folder, suffix=UNFINISHED)
    folder = cache_folder / _key(module, config)
    cached = _read_cached(folder)
    if cached is not None:
        return cached
    model = convert(PatchGraph(module, config))
    reason: object = "what was written cannot be read"
    try:
        _write_to_cache(model, cache_folder, folder)
    except OSError as error:
        reason = error.strerror or error
    cached = _read_cached(folder)  # maybe another process's that was faster
    if cached is None:
        warnings.warn(f"{cache_folder}: no room for the converted network ({reason}); starts stay slow", stacklevel=2)
        return _written_and_read(model)
    return cached


def _read_cached(folder: Path) -> openvino.Model | None:
    """The converted network in a folder of the cache; None if there is none, or it is not whole."""
    try:
        if (folder / CHECKSUM).read_text(encoding="ascii") != _checksum(folder):
            return None
        return core().read_model(folder / CONVERTED)
    except (OSError, UnicodeDecodeError, RuntimeError):
        return None  # the same as none: it is made again


def _write_to_cache(model: openvino.Model, cache_folder: Path, folder: Path) -> None:
    """Write a converted network to the cache: whole, in place of what is there, or not at all.

    Raises:
        OSError: no room, or no right to write there.
    """
    cache_folder.mkdir(parents=True, exist_ok=True)
    with temporary_folder(cache_folder, suffix=UNFINISHED) as temporary:
        made = temporary / "made"
        made.mkdir()
        save_graph(model, made / CONVERTED)
        (made / CHECKSUM).write_text(_checksum(made), encoding="ascii")
        if folder.exists():
            folder.rename(temporary / "broken")
        made.rename(folder)


def _written_and_read(model: openvino.Model) -> openvino.Model:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        save_graph(model, Path(folder) / CONVERTED)
        return core().read_model(Path(folder) / CONVERTED)


def save_graph(model: openvino.Model, path: Path) -> None:
    """Write a model, as it is, to an .xml and a .bin beside it.

    Raises:
        OSError: the disk is full or the like.
    """
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        problem = f"the network could not be written ({reason}); is the disk full?"
        raise OSError(errno.EIO, problem, str(path)) from error


def _checksum(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (CONVERTED, WEIGHTS):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _key(module: nn.Module, config: ModelConfig) -> str:
    text = f"{GRAPH_VERSION} {openvino.__version__} {weights_key(module, config)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def weights_key(module: nn.Module, config: ModelConfig) -> str:
    """Tells networks apart by their weights and by what they expect; how they were trained does not count."""
    return hash_weights(module, replace(config, scheme=None, gate=None).to_json())
