"""A model for other runtimes: ONNX, or OpenVINO's own format, checked against torch."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder
from bpr_cli.network.checkpoint import load
from bpr_cli.network.graph import INPUTS, OUTPUT, PatchGraph

TOLERANCE = 1e-3  # of a probability: float32 leaves 5e-7 for trained weights, 2e-4 for random ones, bfloat16 7e-3
CHECKED_BATCHES = (1, 3)  # two, so that a batch size frozen into the graph is noticed

Run = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


def export(model: str | PathLike[str], output: Path) -> float:
    """Write a model as one graph from 8-bit patches to probabilities (`graph.PatchGraph`), any batch size.

    Args:
        model: as in `Refiner.from_pretrained`.
        output: `.onnx` for ONNX; `.xml` for OpenVINO, whose weights go into a `.bin` beside it.

    Returns:
        The largest difference from torch's probabilities on patches of noise.

    Raises:
        InputError: no such model, another suffix, what the format needs is not installed, or the folder cannot be
            written to.
        RuntimeError: the exported model computes something else; nothing is written then.
    """
    writers = {".onnx": (_write_onnx, ("onnx", "onnxscript", "onnxruntime")), ".xml": (_write_openvino, ("openvino",))}
    if output.suffix not in writers:
        raise InputError(
            "the format is not known", file=output, remedy="Name a .onnx or a .xml (OpenVINO) file with -o"
        )
    write, needed = writers[output.suffix]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        extra = "onnx" if output.suffix == ".onnx" else "openvino"
        raise InputError(f"{', '.join(missing)} not installed", remedy=f"pip install 'bpr[{extra}]'")
    module, config = load(model)
    ensure_folder(output.parent)
    graph = PatchGraph(module, config).eval()
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as temporary:
        run = write(graph, Path(temporary) / output.name)
        difference = _largest_difference(graph, run)
        if difference > TOLERANCE:
            raise RuntimeError(f"the exported model differs from torch by {difference:.1e}")
        # The graph's file last: it makes the export complete.
        for file in sorted(Path(temporary).iterdir(), key=lambda file: file.name == output.name):
            file.replace(output.parent / file.name)
    return difference


def _write_onnx(graph: PatchGraph, path: Path) -> Run:
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it says at length that torchvision is absent
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own inner workings
        torch.onnx.export(
            graph,
            graph.example(),
            path,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=({0: batch}, {0: batch}),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images, masks: session.run(None, dict(zip(INPUTS, (images, masks), strict=True)))[0]


def _write_openvino(graph: PatchGraph, path: Path) -> Run:
    import openvino

    from bpr_cli.network.openvino_engine import convert

    model = convert(graph)
    openvino.save_model(model, path, compress_to_fp16=False)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images, masks: compiled([images, masks])[0]


def _largest_difference(graph: PatchGraph, run: Run) -> float:
    rng = np.random.default_rng(0)
    largest = 0.0
    for batch in CHECKED_BATCHES:
        shape = (batch, graph.side, graph.side)
        images, masks = rng.integers(0, 256, (*shape, 3), np.uint8), rng.integers(0, 2, shape, np.uint8)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(images), torch.from_numpy(masks)).numpy()
        largest = max(largest, float(np.abs(run(images, masks) - expected).max()))
    return largest
