"""The dial between speed and quality: which models, how many patches, how many looks at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike

from bpr_cli.errors import InputError, checked_settings, refuse_beside
from bpr_cli.patches import WHOLE
from bpr_cli.refining.settings import RefineSettings

NameOrPath = str | PathLike[str]  # of a model, as `network.zoo.resolve` takes it


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
    "balanced": Speed(("davis-w18s", "davis-w18s"), 0.4, True, "hann"),
    "best": Speed(("davis-w18s", "davis-w18s"), 0.55, True, "hann"),
}
DEFAULT_SPEED = "balanced"
DEFAULT_MODELS = SPEEDS[DEFAULT_SPEED].models


def choose_speed(
    name: str = DEFAULT_SPEED, models: NameOrPath | Sequence[NameOrPath] | None = None, **changes: object
) -> tuple[list[NameOrPath], RefineSettings]:
    """The model of each pass, and the settings, of a position of the dial.

    Args:
        name: one of SPEEDS.
        models: others than the position's, as in `models_of_passes`; more than it has passes make as many passes.
        changes: fields of `RefineSettings` that shall be otherwise; None leaves a field as it is.

    Raises:
        InputError: no such position or field, a field out of its range or without use beside the scheme, or more models
            than passes asked for.
    """
    if not isinstance(name, str) or name not in SPEEDS:
        raise InputError(f"no speed {name!r}", remedy=f"Choose from {', '.join(SPEEDS)}")
    known = [field.name for field in fields(RefineSettings)]
    if unknown := sorted(changes.keys() - set(known)):
        raise InputError(f"there is no setting {', '.join(unknown)}", remedy=f"Settings are {', '.join(known)}")
    speed = SPEEDS[name]
    chosen = _as_list(models)
    settings = RefineSettings(
        nms_threshold=speed.nms_threshold,
        flips=speed.flips,
        blend=speed.blend,
        passes=max(len(speed.models), len(chosen)),
    )
    overrides = {field: value for field, value in changes.items() if value is not None}
    settings = replace(settings, **overrides)  # type: ignore[arg-type]
    if settings.scheme != "dense":
        refuse_beside(f"the {settings.scheme} scheme", nms_threshold=changes.get("nms_threshold"))
    if settings.scheme in WHOLE:
        refuse_beside(f"the {settings.scheme} scheme", blend=changes.get("blend"))
    return models_of_passes(chosen, settings.passes, speed.models), settings


def choose_settings(
    models: NameOrPath | Sequence[NameOrPath] | None, settings: RefineSettings | None, speed: str, **changes: object
) -> tuple[list[NameOrPath], RefineSettings]:
    """The model of each pass, and the settings, where either the dial decides or `settings` do.

    Raises:
        InputError: as in `choose_speed`; or `settings`, which decide all of it, beside a speed or single changes.
    """
    if settings is None:
        return choose_speed(speed, models, **changes)
    settings = checked_settings(settings, RefineSettings)
    beside = [f"speed={speed!r}"] if speed != DEFAULT_SPEED else []
    beside += [name for name, value in changes.items() if value is not None]
    if beside:
        raise InputError(
            f"settings, and {', '.join(beside)} beside them",
            remedy=f"Give {beside[0].partition('=')[0]} alone, or settings alone",
        )
    return models_of_passes(models, settings.passes), settings


def models_of_passes(
    models: NameOrPath | Sequence[NameOrPath] | None, passes: int, default: Sequence[NameOrPath] = DEFAULT_MODELS
) -> list[NameOrPath]:
    """The model of each pass.

    Args:
        models: one, or several: the first for the first pass and so on, the last for all that are left. None or empty:
            the last ones of the default.
        passes: how many.
        default: as `models`.

    Raises:
        InputError: more models than passes.
    """
    names = _as_list(models) or list(default[-passes:])
    if len(names) > passes:
        raise InputError(
            f"{len(names)} models for {passes} pass{'es' if passes > 1 else ''}",
            remedy="Ask for more passes, or give fewer models",
        )
    return names + names[-1:] * (passes - len(names))


def _as_list(models: NameOrPath | Sequence[NameOrPath] | None) -> list[NameOrPath]:
    return [models] if isinstance(models, (str, PathLike)) else list(models or ())
