"""Conditions on figures, for people who run `bpr evaluate` in their own continuous integration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from bpr_cli.errors import InputError
from bpr_cli.evaluation.figures import Evaluation, Figures

SHARES = ("improved", "unchanged", "harmed")


@dataclass(frozen=True, slots=True)
class Gate:
    """A figure and the value that it must not be below (or above)."""

    figure: str
    limit: float
    is_floor: bool


def parse_gates(below: Sequence[str], above: Sequence[str], *, compared: bool) -> list[Gate]:
    """Gates as the command line writes them: `boundary_ap=0.30`.

    Args:
        below: each fails if the figure is less.
        above: each fails if the figure is more.
        compared: whether there is a baseline; without one nothing improves or is harmed.

    Raises:
        InputError: not a known figure and a fraction, or one that needs a baseline.
    """
    return [_gate(text, True, compared) for text in below] + [_gate(text, False, compared) for text in above]


def gate_figures() -> list[str]:
    """The figures that a gate may name."""
    return [item.name for item in fields(Figures)] + list(SHARES)


def _gate(text: str, is_floor: bool, compared: bool) -> Gate:
    option = "--fail-below" if is_floor else "--fail-above"
    name, _, number = text.partition("=")
    if name not in gate_figures():
        raise InputError(
            f"{option} {text}: there is no figure {name!r}", remedy=f"Use one of {', '.join(gate_figures())}"
        )
    if name in SHARES and not compared:
        raise InputError(f"{option} {text}: only a comparison has this figure", remedy="Give --baseline")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not 0 <= limit <= 1:
        raise InputError(f"{option} {text}: not a fraction", remedy=f"Write it as {name}=0.30")
    return Gate(name, limit, is_floor)


def failures(evaluation: Evaluation, gates: Sequence[Gate]) -> list[str]:
    """What fails, a line each. A figure that is undefined fails: nothing was shown."""
    lines = []
    for gate in gates:
        source = evaluation if gate.figure in SHARES else evaluation.figures
        value = float(getattr(source, gate.figure))
        fails = math.isnan(value) or (value < gate.limit if gate.is_floor else value > gate.limit)
        if fails:
            lines.append(f"{gate.figure} is {value:.4f}, {'below' if gate.is_floor else 'above'} {gate.limit:g}")
    return lines
