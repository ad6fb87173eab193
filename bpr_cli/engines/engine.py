"""Engines: what runs a network over patches. torch runs everywhere; OpenVINO is the faster one on x86 CPUs."""

from __future__ import annotations

from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bpr_cli.engines.devices import INT8, choose_device
from bpr_cli.errors import InputError, to_install
from bpr_cli.files import fingerprint
from bpr_cli.network.checkpoint import hash_weights, load
from bpr_cli.network.config import ModelConfig
from bpr_cli.network.zoo import int8_file

CUDA_GRAPHS = "cuda-graphs"
ENGINES = ("auto", "torch", "openvino", CUDA_GRAPHS)


class Engine(Protocol):
    """A network made ready for inference.

    Attributes:
        name: "torch", "openvino" or "cuda-graphs".
        device: where it computes.
        precision: "fp32", "bf16", "fp16" or "int8".
    """

    name: str
    device: torch.device
    precision: str

    def predict(
        self, images_NHWC: NDArray[np.uint8], masks: NDArray[np.uint8], flips: bool = False
    ) -> NDArray[np.float32]:
        """Foreground probability of patches.

        Args:
            images_NHWC: (N, S, S, 3) uint8 RGB, S = patch size + 2 padding.
            masks: uint8 (N, S, S), coarse masks, 0 or 1; or (N, S, S, 2) for networks that see neighbours, see
                `input_tensor.prepare`.
            flips: average with the prediction of the mirror image.

        Returns:
            (N, P, P) float32, 0..1, P the patch size: the middle of each patch.
        """
        ...


class Network(NamedTuple):
    """A model on its engine, and what it expects.

    Attributes:
        key: tells models apart by their weights and configs; empty where the network was not opened from a file.
    """

    engine: Engine
    config: ModelConfig
    key: str = ""

    def __str__(self) -> str:
        return f"{self.engine.name} {self.engine.precision} on {self.engine.device}"


def open_network(
    name_or_path: str | PathLike[str], device: str = "auto", precision: str = "auto", engine: str = "auto"
) -> Network:
    """Load a model and make it ready for inference.

    Args:
        name_or_path: a model of the zoo, a training run's folder, a safetensors file, or a `.pth` of the paper's
            authors.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: "auto", "fp32", "bf16", "fp16", or "int8" with OpenVINO.
        engine: one of ENGINES, see `open_engine`.

    Raises:
        InputError: no such model, device or engine, or a broken file.
    """
    chosen = choose_device(device)
    module, config = load(name_or_path)
    int8 = int8_file(name_or_path)
    opened = open_engine(module, config, chosen, precision, engine, int8)
    key = hash_weights(module, config.to_json())
    if opened.precision == INT8 and int8 is not None:
        key += "-" + "-".join(fingerprint(int8.with_suffix(suffix)).sha256[:32] for suffix in (".xml", ".bin"))
    return Network(opened, config, key)


def open_engine(
    module: nn.Module,
    config: ModelConfig,
    device: torch.device,
    precision: str = "auto",
    name: str = "auto",
    int8: Path | None = None,
) -> Engine:
    """Make a network ready for inference.

    Args:
        module: a network of `networks.build`; it is copied, not changed.
        config: what it expects.
        device: where to run it.
        precision: see `devices.autocast_dtype`; or "int8", for OpenVINO alone, whose "auto" takes it where there
            is an `int8` file.
        name: one of ENGINES. "auto" takes OpenVINO on CPUs where it is installed, else torch. "cuda-graphs", torch
            that replays batches as CUDA graphs (`recording`), has not been tried on a GPU yet.
        int8: the network's 8-bit form (`zoo.int8_file`).

    Raises:
        InputError: no such engine, it is not installed, or it does not run on that device or in that precision.
    """
    if name not in ENGINES:
        raise InputError(f"no engine {name!r}", remedy=f"Choose from {', '.join(ENGINES)}")
    has_openvino = find_spec("openvino") is not None
    if name == "openvino" and not has_openvino:
        raise InputError("OpenVINO is not installed", remedy=f"{to_install('openvino')}, or use --engine torch")
    if name == "openvino" and device.type != "cpu":
        raise InputError(f"OpenVINO runs on CPUs here, not on {device}", remedy="Use --device cpu or --engine torch")
    if name == CUDA_GRAPHS and device.type != "cuda":
        raise InputError(f"CUDA graphs run on CUDA, not on {device}", remedy="Use --device cuda or --engine torch")
    # Imported here: each costs a start-up that the other's users need not wait for.
    if name == "openvino" or (name == "auto" and has_openvino and device.type == "cpu"):
        from bpr_cli.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(module, config, precision, int8)
    if precision == INT8:
        raise InputError("int8 is for OpenVINO on a CPU", remedy=f"{to_install('openvino')}, or use --precision auto")
    from bpr_cli.engines.torch_engine import TorchEngine

    return TorchEngine(module, config, device, precision, cuda_graphs=name == CUDA_GRAPHS)
