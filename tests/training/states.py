"""What a run left, in a form that compares."""

from __future__ import annotations

import json

import torch


def log_of(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "patches_per_second"} for row in rows]


def equal(first, second):
    """Of whatever a saved state holds."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def state_of(folder):
    return torch.load(folder / "last.pt", weights_only=True)
