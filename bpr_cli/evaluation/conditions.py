"""Conditions on figures, for people who run `bpr evaluate` in their own continuous integration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from bpr_cli.errors import InputError
from bpr_cli.evaluation.figures import Evaluation, Figures

SHARES = ("improved", "unchanged", "harmed")


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure and the value that it must not be below (or above)."""

    figure: str
    limit: float
    is_floor: bool


def parse_conditions(below: Sequence[str], above: Sequence[str], *, compared: bool) -> list[Condition]:
    """Conditions as the command line writes them: `boundary_ap=0.30`.

    Args:
        below: each fails if the figure is less.
        above: each fails if the figure is more.
        compared: whether there is a baseline; without one nothing improves or is harmed.

    Raises:
        InputError: not a known figure and a fraction, or one that needs a baseline.
    """
    return [_condition(text, True, compared) for text in below] + [_condition(text, False, compared) for text in above]


def condition_figures() -> list[str]:
    """The figures that a condition may name."""
    return [item.name for item in fields(Figures)] + list(SHARES)


def _condition(text: str, is_floor: bool, compared: bool) -> Condition:
    option = "--fail-below" if is_floor else "--fail-above"
    name, _, number = text.partition("=")
    if name not in condition_figures():
        raise InputError(
            f"{option} {text}: there is no figure {name!r}", remedy=f"Use one of {', '.join(condition_figures())}"
        )
    if name in SHARES and not compared:
        raise InputError(f"{option} {text}: only a comparison has this figure", remedy="Give --baseline")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not 0 <= limit <= 1:
        raise InputError(f"{option} {text}: not a fraction", remedy=f"Write it as {name}=0.30")
    return Condition(name, limit, is_floor)


def failures(evaluation: Evaluation, conditions: Sequence[Condition]) -> list[str]:
    """What fails, a line each. A figure that is undefined fails: nothing was shown."""
    lines = []
    for condition in conditions:
        source = evaluation if condition.figure in SHARES else evaluation.figures
        value = float(getattr(source, condition.figure))
        fails = math.isnan(value) or (value < condition.limit if condition.is_floor else value > condition.limit)
        if fails:
            side = "below" if condition.is_floor else "above"
            lines.append(f"{condition.figure} is {value:.4f}, {side} {condition.limit:g}")
    return lines
