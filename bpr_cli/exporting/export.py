"""A model for other runtimes: ONNX, or OpenVINO's own format, checked against torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bpr_cli.engines.devices import INT8
from bpr_cli.engines.patch_graph import INPUTS, OUTPUT, PatchGraph
from bpr_cli.errors import InputError, to_install
from bpr_cli.files import ensure_folder, refuse_folder, replacing
from bpr_cli.locks import LOCK, temporary_folder
from bpr_cli.network.checkpoint import load

INT8_LOSS = 0.002  # of mean IoU, that 8 bits may cost; the shipped models lose 0.0005
TOLERANCE = 1e-3  # of a probability: float32 leaves 5e-7 for trained weights, 2e-4 for random ones, bfloat16 7e-3
TEMPORARY = ".export-"  # folders of running exports
CHECKED_BATCHES = (1, 3)  # two, so that a batch size frozen into the graph is noticed

Run = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


class ExportError(RuntimeError):
    """The exported model does not compute what it was made from."""


def export(model: str | PathLike[str], output: Path) -> float:
    """Write a model as one graph from 8-bit patches to probabilities (`patch_graph.PatchGraph`), any batch size.

    Args:
        model: as in `Refiner.from_pretrained`.
        output: `.onnx` for ONNX; `.xml` for OpenVINO, whose weights go into a `.bin` beside it.

    Returns:
        The largest difference from torch's probabilities on patches of noise.

    Raises:
        InputError: no such model, another suffix, what the format needs is not installed, or the folder cannot be
            written to.
        ExportError: the exported model computes something else; nothing is written then.
        OSError: the disk is full or the like.
    """
    writers = {".onnx": (_write_onnx, ("onnx", "onnxscript", "onnxruntime")), ".xml": (_write_openvino, ("openvino",))}
    if output.suffix not in writers:
        raise InputError(
            "the format is not known", file=output, remedy="Name a .onnx or a .xml (OpenVINO) file with -o"
        )
    write, needed = writers[output.suffix]
    _require("onnx" if output.suffix == ".onnx" else "openvino", needed)
    module, config = load(model)
    graph = PatchGraph(module, config).eval()
    with _written_whole(output) as temporary:
        run = write(graph, temporary)
        difference = _largest_difference(graph, run)
        if difference > TOLERANCE:
            raise ExportError(f"the exported model differs from torch by {difference:.1e}")
    return difference


def export_int8(model: str | PathLike[str], output: Path, patches: Path) -> tuple[float, float]:
    """Write a model in 8 bits for OpenVINO. As `int8.xml` beside the model's weights, `bpr refine` runs it.

    Args:
        model: as in `Refiner.from_pretrained`.
        output: a `.xml` file; the weights go into a `.bin` beside it.
        patches: what `bpr extract` wrote: training patches to find the ranges of activations with, and others to
            compare with float32 on.

    Returns:
        Mean IoU (0..1) of those other patches in float32 and in 8 bits, at a threshold of one half.

    Raises:
        InputError: no such model, another suffix, packages not installed, too few patches, or the folder cannot be
            written to.
        ExportError: 8 bits cost more than INT8_LOSS; nothing is written then.
        OSError: the disk is full or the like.
    """
    if output.suffix != ".xml":
        raise InputError("8 bits are for OpenVINO", file=output, remedy="Name a .xml file with -o")
    _require("int8", ("openvino", "nncf"))
    from bpr_cli.engines.openvino_engine import OpenVinoEngine, convert, mark_weights, save_graph
    from bpr_cli.exporting.quantize import mean_iou, quantize, read_patches

    module, config = load(model)
    if config.sees_neighbours:
        raise InputError("8 bits are for models of patches alone: shards hold no neighbours", remedy="Leave out --int8")
    graph = PatchGraph(module, config).eval()
    calibration, others = read_patches(patches, graph.side)
    with _written_whole(output) as temporary:
        quantized = quantize(convert(graph), calibration)
        mark_weights(quantized, module, config)
        save_graph(quantized, temporary)
        exact = mean_iou(OpenVinoEngine(module, config, "fp32").predict, others)
        rounded = mean_iou(OpenVinoEngine(module, config, INT8, temporary).predict, others)
        if rounded < exact - INT8_LOSS:
            raise ExportError(f"8 bits cost {exact - rounded:.4f} of mean IoU, more than {INT8_LOSS}")
    return exact, rounded


def _require(extra: str, packages: tuple[str, ...]) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(f"{', '.join(missing)} not installed", remedy=to_install(extra))


@contextmanager
def _written_whole(output: Path) -> Iterator[Path]:
    """A path to write the export to, of the same name, whose files go to `output` if all went well."""
    ensure_folder(output.parent)
    refuse_folder(output)
    with temporary_folder(output.parent, TEMPORARY) as temporary:
        yield temporary / output.name
        # The graph's file last: it makes the export complete.
        files = [file for file in temporary.iterdir() if file.name != LOCK]
        for file in sorted(files, key=lambda file: file.name == output.name):
            with replacing(output.parent / file.name) as last_step:
                file.replace(last_step)


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
    from bpr_cli.engines.openvino_engine import convert, core, save_graph

    model = convert(graph)
    save_graph(model, path)
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images, masks: compiled([images, masks])[0]


def _largest_difference(graph: PatchGraph, run: Run) -> float:
    rng = np.random.default_rng(0)
    largest = 0.0
    for batch in CHECKED_BATCHES:
        images, masks = (np.zeros(tensor.shape, np.uint8) for tensor in graph.example(batch))
        images, masks = rng.integers(0, 256, images.shape, np.uint8), rng.integers(0, 2, masks.shape, np.uint8)
        if graph.config.sees_neighbours:
            masks *= np.uint8(255)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(images), torch.from_numpy(masks)).numpy()
        largest = max(largest, float(np.abs(run(images, masks) - expected).max()))
    return largest
