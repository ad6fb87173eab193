"""Inference by OpenVINO on a CPU: the same answers as torch's, faster.

Converting a network takes seconds, so the result is kept in torch's cache folder, under a key made of everything that
decides it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import nn

from bpr_cli.network.checkpoint import ModelConfig
from bpr_cli.network.devices import autocast_dtype, precision_name
from bpr_cli.network.graph import PatchGraph

GRAPH_VERSION = "1"  # counts up when PatchGraph computes something else
HINTS = {"fp32": "f32", "bf16": "bf16"}
CONVERTED = "model.xml"


class OpenVinoEngine:
    """A network made ready for inference by OpenVINO.

    Args:
        module: an `HRNetSegmenter`; it is not changed.
        config: what it expects.
        precision: "auto", "fp32" or "bf16" (`devices.autocast_dtype`).
        cache: folder for converted networks; None: beside torch's.

    Raises:
        InputError: no such precision here.
    """

    name = "openvino"

    def __init__(
        self, module: nn.Module, config: ModelConfig, precision: str = "auto", cache: Path | None = None
    ) -> None:
        self.config = config
        self.device = torch.device("cpu")
        self.precision = precision_name(autocast_dtype(self.device, precision))
        core = openvino.Core()
        cache = cache or Path(torch.hub.get_dir()).parent / "bpr"  # beside torch's own, where TORCH_HOME says
        self._compiled = core.compile_model(
            _converted(core, module, config, cache),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": HINTS[self.precision],
                "PERFORMANCE_HINT": "LATENCY",  # one batch at a time on all threads; two streams gained nothing
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),  # so that OMP_NUM_THREADS holds for both engines
            },
        )

    def predict(
        self, images_NHWC: NDArray[np.uint8], masks_NHW: NDArray[np.uint8], flips: bool = False
    ) -> NDArray[np.float32]:
        """Foreground probability of patches; see `engine.Engine`."""
        if len(images_NHWC) == 0:
            return np.empty((0, self.config.patch_size, self.config.patch_size), np.float32)
        probabilities = self._run(images_NHWC, masks_NHW)
        if flips:
            mirrored = self._run(images_NHWC[:, :, ::-1], masks_NHW[:, :, ::-1])[:, :, ::-1]
            return np.asarray((probabilities + mirrored) / 2, np.float32)
        return probabilities

    def _run(self, images_NHWC: NDArray[np.uint8], masks_NHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        inputs = [np.ascontiguousarray(images_NHWC), np.ascontiguousarray(masks_NHW)]
        return np.array(self._compiled(inputs)[0], np.float32)  # a copy: OpenVINO uses its memory again


def convert(graph: PatchGraph) -> openvino.Model:
    """The graph as an OpenVINO model of any batch size."""
    with warnings.catch_warnings(), torch.no_grad():
        # Shapes decided while tracing are those of this model's patches, as they should be.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tracing that OpenVINO does
        model = openvino.convert_model(graph, example_input=graph.example())
    side = graph.side
    model.reshape({0: [-1, side, side, 3], 1: [-1, side, side]})
    return model


def _converted(core: openvino.Core, module: nn.Module, config: ModelConfig, cache: Path) -> openvino.Model:
    """The network from the cache, or converted and put there."""
    folder = cache / _key(module, config)
    if (folder / CONVERTED).is_file():
        return core.read_model(folder / CONVERTED)
    model = convert(PatchGraph(module, config))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # The folder appears whole or not at all; of two processes that convert at once, one keeps its own.
        temporary = Path(tempfile.mkdtemp(suffix=".part", dir=cache))
        try:
            openvino.save_model(model, temporary / CONVERTED, compress_to_fp16=False)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if not folder.is_dir():
            warnings.warn(
                f"{cache}: no room for the converted network ({error.strerror}); starts stay slow", stacklevel=2
            )
            return model
    return core.read_model(folder / CONVERTED)  # written and read, it rounds in other places: always the same then


def _key(module: nn.Module, config: ModelConfig) -> str:
    digest = hashlib.sha256(f"{GRAPH_VERSION} {openvino.__version__} {config.to_json()}".encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
