"""What networks are made of and expect, without torch and without their weights."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.patches import OBJECT, SCHEMES

INPUT_STRIDE = 32  # the coarsest branch: inputs must be a multiple of it
FORMAT = 1
LARGEST_SIDE = 2048  # px; far beyond what has been trained, and a batch of it would take all memory


@dataclass(frozen=True, slots=True)
class HRNetConfig:
    """One member of the family.

    Attributes:
        width: channels of the finest branch; each coarser one has twice as many.
        stem_blocks: bottlenecks of layer1.
        modules: exchange modules of stages 2, 3 and 4.
        blocks: residual blocks of a branch within a module.
    """

    width: int
    stem_blocks: int
    modules: tuple[int, int, int]
    blocks: int


CONFIGS = {
    "hrnet-w18-small": HRNetConfig(width=18, stem_blocks=2, modules=(1, 3, 2), blocks=2),
    "hrnet-w18": HRNetConfig(width=18, stem_blocks=4, modules=(1, 4, 3), blocks=4),
    "hrnet-w32": HRNetConfig(width=32, stem_blocks=4, modules=(1, 4, 3), blocks=4),
    "hrnet-w48": HRNetConfig(width=48, stem_blocks=4, modules=(1, 4, 3), blocks=4),
}


UNET = "unet-lite0"
NETWORKS = (*CONFIGS, UNET)
# What decides which pixels of a whole object change (`refining.gate.change_features`): how sure the network is, how far
# from the coarse boundary the pixel lies, whether the object loses it, and how likely it is another detection's.
GATE_FEATURES = ("sureness", "distance", "lost", "neighbour")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a network expects.

    Attributes:
        network: a name in `NETWORKS`.
        input_size: side in pixels to which patches are resized; a multiple of 32.
        patch_size: side in pixels of the patch that is pasted back.
        padding: pixels of context on each side of the patch, shown to the network, not pasted back.
        scheme: how the patches lay that it was trained on (`patches.SCHEMES`), or `patches.OBJECT`; None: not recorded.
        gate: for models of the object scheme: intercept and weights (GATE_FEATURES) of the logistic regression that
            says how likely a pixel's change is right. None: all pixels change.
        mask_patch: whether the network sees the coarse mask beside the photo; without it is the paper's ablation.

    Raises:
        InputError: a value is out of range.
    """

    network: str = "hrnet-w18-small"
    input_size: int = 128
    patch_size: int = 64
    padding: int = 0
    scheme: str | None = None
    gate: tuple[float, ...] | None = None
    mask_patch: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.network, str) or self.network not in NETWORKS:
            raise InputError(f"network is {self.network!r}", remedy=f"Choose from {', '.join(NETWORKS)}")
        sizes = {name: getattr(self, name) for name in ("input_size", "patch_size", "padding")}
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise InputError(f"{name} is {value!r}, not an integer")
            if value > LARGEST_SIDE:
                raise InputError(f"{name} is {value}", remedy=f"Choose {LARGEST_SIDE} or less")
        if self.input_size < INPUT_STRIDE or self.input_size % INPUT_STRIDE:
            raise InputError(f"input_size is {self.input_size}", remedy=f"Choose a multiple of {INPUT_STRIDE}")
        if self.patch_size < 1:
            raise InputError(f"patch_size is {self.patch_size}", remedy="Choose 1 or more")
        if self.padding < 0:
            raise InputError(f"padding is {self.padding}", remedy="Choose 0 or more")
        if self.scheme is not None and self.scheme not in (*SCHEMES, OBJECT):
            raise InputError(f"scheme is {self.scheme!r}", remedy=f"Choose from {', '.join((*SCHEMES, OBJECT))}")

        if self.scheme == OBJECT and not self.sees_neighbours:
            raise InputError(f"{self.network} does not look at whole objects", remedy=f"Use {UNET} for it")
        if not isinstance(self.mask_patch, bool):
            raise InputError(f"mask_patch is {self.mask_patch!r}", remedy="Give true or false")
        if not self.mask_patch and self.sees_neighbours:
            raise InputError(f"{self.network} needs the mask patch", remedy=f"Choose from {', '.join(CONFIGS)}")
        if self.gate is not None:
            object.__setattr__(self, "gate", _checked_gate(self.gate))

    @property
    def sees_neighbours(self) -> bool:
        """Whether the network takes the other detections beside the coarse mask."""
        return self.network == UNET

    def to_json(self) -> str:
        """The text of config.json."""
        values = {key: value for key, value in asdict(self).items() if value is not None}
        if self.mask_patch:  # absent in the files of models from before there was a choice
            del values["mask_patch"]
        return json.dumps({"format": FORMAT, **values}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, file: Path) -> ModelConfig:
        """Read `to_json`'s text; absent keys take their defaults.

        Raises:
            InputError: no JSON object, an unknown key, a value out of range, or a later format; names `file`.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the model's config is not JSON ({error})", file=file) from error
        if not isinstance(values, dict):
            raise InputError("the model's config is not a JSON object", file=file)
        if values.pop("format", FORMAT) != FORMAT:
            raise InputError("the model was written by a later version", file=file, remedy="Upgrade bpr")
        unknown = sorted(values.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f"unknown keys in the model's config: {', '.join(unknown)}", file=file)
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(error.problem, file=file, remedy=error.remedy) from error


def _checked_gate(gate: object) -> tuple[float, ...]:
    count = 1 + len(GATE_FEATURES)
    if (
        not isinstance(gate, (list, tuple))
        or len(gate) != count
        or not all(isinstance(value, (int, float)) and math.isfinite(value) for value in gate)
    ):
        raise InputError(
            f"gate is {gate!r}", remedy=f"Give {count} numbers: an intercept and {', '.join(GATE_FEATURES)}"
        )
    return tuple(map(float, gate))
