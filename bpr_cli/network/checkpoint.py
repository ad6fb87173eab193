"""Weights on disk: saving and loading them.

A model is a folder with `model.safetensors` (weights, under the names of `hrnet`) and `config.json` (a
`config.ModelConfig`); or one safetensors file, whose metadata then carries the config. The `.pth` files of the paper's
authors are read as well, by torch's weights-only reader: nothing in them is ever executed.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.network import networks
from bpr_cli.network.config import NETWORKS, ModelConfig
from bpr_cli.network.zoo import CONFIG_FILE, WEIGHTS_FILE, choices, resolve

METADATA_KEY = "bpr"  # of the safetensors metadata; the value is config.json's text
NAMED = 3  # weights that an error message names before it only counts


def save(path: str | PathLike[str], module: nn.Module, config: ModelConfig, *, half: bool = False) -> None:
    """Write a model; each file appears whole or not at all.

    Args:
        path: a `.safetensors` file, or a folder, which is made.
        module: the network that `config` names, on any device.
        config: what it expects.
        half: keep the convolutions' weights as float16: half the size, for publishing. Batch-norm statistics stay
            float32, as variances can exceed float16's range.

    Raises:
        InputError: the folder cannot be made or written to.
        OSError: the disk is full or the like.
    """
    path = Path(path)
    tensors = {}
    for key, tensor in module.state_dict().items():
        narrow = half and tensor.ndim == 4
        # safetensors wants plain row-major order, which channels_last weights don't have
        tensors[key] = tensor.detach().cpu().to(torch.float16 if narrow else tensor.dtype).contiguous()
    single = path.suffix == ".safetensors"
    weights = path if single else path / WEIGHTS_FILE
    ensure_folder(weights.parent)
    with replacing(weights) as temporary:
        # Not its save_file: that writes under a name of its own, which a kill would leave behind.
        temporary.write_bytes(to_bytes(tensors, metadata={METADATA_KEY: config.to_json()}))
    if not single:
        with replacing(path / CONFIG_FILE) as temporary:
            temporary.write_text(config.to_json(), encoding="utf-8")


def load(name_or_path: str | PathLike[str], device: str | torch.device = "cpu") -> tuple[nn.Module, ModelConfig]:
    """Load a model: anything that `resolve` takes.

    Args:
        name_or_path: see `resolve`.
        device: where the weights shall lie.

    Returns:
        The network in evaluation mode, its weights float32 whatever the file holds, and what it expects.

    Raises:
        InputError: no such model; a broken file; a pickle that holds more than weights; weights missing, unknown
            or of another shape.
    """
    path = resolve(name_or_path)
    tensors, config = _tensors_and_config(path)
    network = networks.empty(config.network, config.mask_patch)
    expected = network.state_dict()
    _check(tensors, expected, config.network, path)
    converted = {key: tensor.to(device, expected[key].dtype) for key, tensor in tensors.items()}
    # Assigned, not copied: the empty network has no memory of its own and drew no random weights.
    network.load_state_dict(converted, assign=True)
    return network.eval(), config


def load_config(name_or_path: str | PathLike[str]) -> ModelConfig:
    """What a model expects, its weights unchecked; `name_or_path` and errors as in `load`."""
    return _tensors_and_config(resolve(name_or_path))[1]


def hash_weights(module: nn.Module, start: str = "") -> str:
    """Tells networks apart by the names and values of their weights, in whatever form they lie on disk.

    Args:
        module: any network; float16 on disk and the same numbers as float32 in memory hash alike.
        start: what else shall count, as text.
    """
    digest = hashlib.sha256(start.encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _tensors_and_config(path: Path) -> tuple[dict[str, Tensor], ModelConfig]:
    tensors, metadata = _read(path)
    sibling = path.with_name(CONFIG_FILE)
    if path.name == WEIGHTS_FILE and sibling.is_file():
        return tensors, ModelConfig.from_json(_read_text(sibling), sibling)
    if METADATA_KEY in metadata:
        return tensors, ModelConfig.from_json(metadata[METADATA_KEY], path)
    tensors = _without_training_parts(tensors)
    return tensors, _deduce_config(tensors, path)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"the model's config is not text ({error})", file=path) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the file's metadata; told apart by the first bytes, as names can lie."""
    try:
        with path.open("rb") as stream:
            start = stream.read(2)
    except OSError as error:
        raise InputError(f"the model cannot be read ({error.strerror})", file=path) from error
    if start == b"PK" or start[:1] == b"\x80":  # torch's zip archives; bare pickles
        return _read_torch(path), {}
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    # Broken headers end in many ways: kinds of number that torch has not, sizes beyond all memory.
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        raise InputError(
            f"neither a whole safetensors file nor a PyTorch checkpoint ({error})",
            file=path,
            remedy="Copy or download it again",
        ) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint as mmcv and torch write them; optimizer state and notes are passed over."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise InputError(
            f"refused: besides weights it holds {found[1] if found else 'something unreadable'}, and reading that "
            "could run foreign code",
            file=path,
            remedy="If you trust the file, load it where it was made and keep the weights alone: "
            "torch.save(checkpoint['state_dict'], 'weights.pth')",
        ) from error
    except Exception as error:  # torch.load has no error type of its own: a damaged file raises nearly anything
        raise InputError(
            f"the PyTorch checkpoint cannot be read ({str(error).splitlines()[0] if str(error) else error!r})",
            file=path,
            remedy="Copy or download it again",
        ) from error
    weights = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not all(_is_plain_tensor(value) for value in weights.values()):
        raise InputError("the PyTorch checkpoint holds no state_dict of weights", file=path, remedy=choices())
    return {str(key): tensor for key, tensor in weights.items()}


def _is_plain_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def _without_training_parts(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without DataParallel's prefix, and without the auxiliary head that serves in training only."""
    plain = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    return {key: tensor for key, tensor in plain.items() if not key.startswith("auxiliary_head.")}


def _deduce_config(tensors: Mapping[str, Tensor], path: Path) -> ModelConfig:
    """Which network a bare set of weights is of: the one that agrees in most names and shapes.

    Sizes are those of the paper: input 256 for W48, 128 for the others, patches of 64 without padding.
    """
    shapes = {key: tensor.shape for key, tensor in tensors.items()}

    def agreeing(name: str) -> int:
        return sum(shapes.get(key) == value.shape for key, value in networks.empty(name).state_dict().items())

    agreements = {name: agreeing(name) for name in NETWORKS}
    best = max(agreements, key=lambda name: agreements[name])
    if agreements[best] * 2 < len(tensors):
        raise InputError(
            "the weights are of no network that bpr knows", file=path, remedy=f"It knows {', '.join(NETWORKS)}"
        )
    return ModelConfig(network=best, input_size=256 if best == "hrnet-w48" else 128)


def _check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], network: str, path: Path) -> None:
    """InputError unless names, shapes and kinds of number are exactly the network's, and all values numbers."""
    shared = [key for key in expected if key in tensors]
    problems = [
        ("missing", [key for key in expected if key not in tensors]),
        ("unknown", [key for key in tensors if key not in expected]),
        ("of another shape", [_shapes(key, tensors, expected) for key in shared if _differs(key, tensors, expected)]),
        ("not finite", [key for key in shared if not _is_finite(tensors[key].to(expected[key].dtype))]),
    ]
    mismatch = "; ".join(f"{len(found)} weights {what} ({_first(found)})" for what, found in problems if found)
    if mismatch:
        raise InputError(f"not a {network}: {mismatch}", file=path, remedy="Use weights that bpr or the authors wrote")


def _differs(key: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return (
        tensors[key].shape != expected[key].shape
        or tensors[key].is_floating_point() != expected[key].is_floating_point()
    )


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _shapes(key: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    def form(tensor: Tensor) -> str:
        return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"

    return f"{key}: {form(tensors[key])} instead of {form(expected[key])}"


def _first(names: list[Any]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
