"""The dial between speed and quality: which models, how many patches, how many looks at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bpr_cli.errors import InputError
from bpr_cli.refining.settings import RefineSettings


@dataclass(frozen=True, slots=True)
class Speed:
    """What a position of the dial sets; see `RefineSettings` for the options.

    Attributes:
        models: models that ship, one for each pass.
        nms_threshold, flips, blend: as in `RefineSettings`.
    """

    models: tuple[str, ...]
    nms_threshold: float
    flips: bool
    blend: str


# Figures of each in the README and in models/LOG.md.
SPEEDS = {
    "fast": Speed(("davis-fast",), 0.25, False, "uniform"),
    "balanced": Speed(("davis-fast", "davis-w18s"), 0.4, False, "hann"),
    "best": Speed(("davis-w18s", "davis-w18s"), 0.55, True, "hann"),
}
DEFAULT_SPEED = "balanced"
DEFAULT_MODELS = SPEEDS[DEFAULT_SPEED].models


def choose_speed(name: str, models: Sequence[str] = (), **changes: object) -> tuple[Sequence[str], RefineSettings]:
    """The models and the settings of a position of the dial.

    Args:
        name: one of SPEEDS.
        models: others than the position's, one for each pass, the last one also for further passes.
        changes: fields of `RefineSettings` that shall be otherwise; None leaves a field as it is. With fewer passes
            than the position has, its first models are left out.

    Raises:
        InputError: no such position, or a field out of its range.
    """
    if name not in SPEEDS:
        raise InputError(f"no speed {name!r}", remedy=f"Choose from {', '.join(SPEEDS)}")
    speed = SPEEDS[name]
    settings = RefineSettings(
        nms_threshold=speed.nms_threshold,
        flips=speed.flips,
        blend=speed.blend,
        passes=max(len(speed.models), len(models)),
    )
    given = {field: value for field, value in changes.items() if value is not None}
    settings = replace(settings, **given)  # type: ignore[arg-type]
    return models or speed.models[-settings.passes :], settings
