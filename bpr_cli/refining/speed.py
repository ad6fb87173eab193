"""The dial between speed and quality: which model, how many patches, how many looks at each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bpr_cli.errors import InputError
from bpr_cli.refining.settings import RefineSettings


@dataclass(frozen=True, slots=True)
class Speed:
    """What a position of the dial sets; see `RefineSettings` for the options.

    Attributes:
        model: a model that ships.
        nms_threshold, flips, blend, passes: as in `RefineSettings`.
    """

    model: str
    nms_threshold: float
    flips: bool
    blend: str
    passes: int


# Figures of each in the README and in models/LOG.md.
SPEEDS = {
    "fast": Speed("davis-fast", 0.25, False, "uniform", passes=1),
    "balanced": Speed("davis-w18s", 0.4, False, "hann", passes=2),
    "best": Speed("davis-w18s", 0.55, True, "hann", passes=2),
}
DEFAULT_SPEED = "balanced"
DEFAULT_MODEL = SPEEDS[DEFAULT_SPEED].model


def choose_speed(name: str, **changes: object) -> tuple[str, RefineSettings]:
    """The model and the settings of a position of the dial.

    Args:
        name: one of SPEEDS.
        changes: fields of `RefineSettings` that shall be otherwise; None leaves a field as it is.

    Raises:
        InputError: no such position, or a field out of its range.
    """
    if name not in SPEEDS:
        raise InputError(f"no speed {name!r}", remedy=f"Choose from {', '.join(SPEEDS)}")
    speed = SPEEDS[name]
    settings = RefineSettings(
        nms_threshold=speed.nms_threshold, flips=speed.flips, blend=speed.blend, passes=speed.passes
    )
    given = {field: value for field, value in changes.items() if value is not None}
    return speed.model, replace(settings, **given)  # type: ignore[arg-type]
