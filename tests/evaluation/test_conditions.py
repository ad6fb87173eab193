"""Conditions on figures, as the command line writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.conditions import failures, parse_conditions
from bpr_cli.evaluation.evaluate import evaluate
from tests.evaluation.made import made_set


def test_what_is_too_low_or_too_high_is_listed(tmp_path: Path) -> None:
    results, gt = made_set(tmp_path)
    found = evaluate(results, gt, results, quiet=True)
    ap = found.figures.ap
    conditions = parse_conditions(
        [f"ap={ap - 0.01}", f"ap={ap + 0.01}", "ap_r=0", "unchanged=1"], ["harmed=0", "af=0.1"], compared=True
    )
    lines = failures(found, conditions)
    assert lines == [
        f"ap is {ap:.4f}, below {ap + 0.01:g}",
        "ap_r is nan, below 0",
        f"af is {found.figures.af:.4f}, above 0.1",
    ]


@pytest.mark.parametrize("text", ["ap", "ap=", "ap=x", "ap=30", "ap=-1", "ap=nan", "mood=0.3", "=0.3"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--fail-below"):
        parse_conditions([text], [], compared=True)


@pytest.mark.parametrize("figure", ["improved", "unchanged", "harmed"])
def test_what_only_a_comparison_shows_needs_a_baseline(figure: str) -> None:
    with pytest.raises(InputError, match=f"--fail-above {figure}=0.1: .* Give --baseline"):
        parse_conditions([], [f"{figure}=0.1"], compared=False)
