"""Inference by torch, on any device: uint8 patches go there and are enlarged and normalised there."""

from __future__ import annotations

import copy
from functools import partial
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bpr_cli.engines.devices import autocast_dtype, precision_name
from bpr_cli.engines.patch_graph import fold_batch_norm
from bpr_cli.engines.recording import Recording, record_cuda_graph
from bpr_cli.errors import InputError
from bpr_cli.network.config import ModelConfig
from bpr_cli.network.input_tensor import prepare
from bpr_cli.network.logits import foreground_probabilities


class TorchEngine:
    """A network made ready for inference on a device.

    Args:
        module: a network of `networks.build`, in evaluation mode; it is copied, not changed.
        config: what it expects.
        device: where to run it.
        precision: see `autocast_dtype`.
        cuda_graphs: replay batches of the size that comes often (`recording`); off, as it has not run on a GPU yet.

    Attributes:
        name: "cuda-graphs" with them, else "torch".
        max_batch: largest batch that fitted so far after running out of memory; None: not yet met.
        recordings: without and with flips.
    """

    def __init__(
        self,
        module: nn.Module,
        config: ModelConfig,
        device: torch.device,
        precision: str = "auto",
        cuda_graphs: bool = False,
    ) -> None:
        self.name = "cuda-graphs" if cuda_graphs else "torch"
        self.config = config
        self.device = device
        self.dtype = autocast_dtype(device, precision)
        self.precision = precision_name(self.dtype)
        folded = fold_batch_norm(copy.deepcopy(module).eval())
        self.module = folded.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.max_batch: int | None = None
        record = record_cuda_graph if cuda_graphs else None
        self._lock = Lock()  # a replay's input and output are the same tensors for all threads
        self.recordings = {False: Recording(record), True: Recording(record)}

    def predict(
        self, images_NHWC: NDArray[np.uint8], masks: NDArray[np.uint8], flips: bool = False
    ) -> NDArray[np.float32]:
        """Foreground probability of patches; see `engine.Engine`.

        Raises:
            InputError: not even one patch fits the device's memory.
        """
        size, padding = self.config.patch_size, self.config.padding
        output = np.empty((len(images_NHWC), size, size), np.float32)
        start = 0
        while start < len(images_NHWC):
            stop = min(len(images_NHWC), start + (self.max_batch or len(images_NHWC)))
            try:
                probabilities = self._run(images_NHWC[start:stop], masks[start:stop], flips)
            except RuntimeError as error:
                self._free_memory(stop - start, error)
                continue
            output[start:stop] = probabilities[:, padding : padding + size, padding : padding + size].numpy()
            start = stop
        return output

    @torch.inference_mode()
    def _run(self, images_NHWC: NDArray[np.uint8], masks: NDArray[np.uint8], flips: bool) -> Tensor:
        inputs = prepare(self._upload(images_NHWC), self._upload(masks), self.config.input_size)
        compute = partial(self._probabilities, size=images_NHWC.shape[1], flips=flips)
        with self._lock:
            return self.recordings[flips].run(compute, inputs).cpu()

    def _upload(self, array: NDArray[np.uint8]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _probabilities(self, inputs: Tensor, size: int, flips: bool) -> Tensor:
        if flips:
            mirrored = self._probabilities(inputs.flip(3), size, flips=False).flip(2)
            return (self._probabilities(inputs, size, flips=False) + mirrored) / 2
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            logits = self.module(inputs)
        return foreground_probabilities(logits.float(), (size, size))

    def _free_memory(self, batch: int, error: RuntimeError) -> None:
        """After running out of memory: go on without recordings, or else with half the batch; other errors pass."""
        if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error).lower():
            raise error
        held = [recording.forget() for recording in self.recordings.values()]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if any(held):
            return
        if batch == 1:
            raise InputError(
                f"one patch does not fit the memory of {self.device}", remedy="Use --device cpu or a smaller model"
            ) from error
        self.max_batch = batch // 2
