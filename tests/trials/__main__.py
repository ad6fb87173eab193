"""Run the trials and write the page of what they found.

    python -m tests.trials                          all of them: about half an hour on two cores
    python -m tests.trials fuzz --scale 0.1         one of them, a tenth as long
    python -m tests.trials --page-only              the page alone, of what was found before

Each trial writes its figures to a file of its own in --out; the page shows those that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

from tests.trials import disk, equal, fuzz, kill, signals
from tests.trials.common import ROOT
from tests.trials.page import write_page

TRIALS = {"fuzz": fuzz.run, "kill": kill.run, "disk": disk.run, "equal": equal.run, "signals": signals.run}


def main() -> None:
    """Parse, run, write; exit code 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials")
    parser.add_argument("trials", nargs="*", help=f"of {', '.join(TRIALS)}; none: all")
    parser.add_argument("--scale", type=float, default=1.0, help="how often, relative to the usual")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "trials", help="folder for figures and failures")
    parser.add_argument("--page", type=Path, default=ROOT / "examples" / "RELIABILITY.md")
    parser.add_argument("--page-only", action="store_true", help="run nothing")
    options = parser.parse_args()
    if unknown := set(options.trials) - set(TRIALS):
        parser.error(f"no trial {', '.join(sorted(unknown))}")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    lost = 0
    for name in () if options.page_only else options.trials or TRIALS:
        since = time.monotonic()
        figures = TRIALS[name](out, options.scale)
        lost += figures.lost
        found = {**asdict(figures), **_circumstances(), "minutes": round((time.monotonic() - since) / 60, 1)}
        (out / f"{name}.json").write_text(json.dumps(found, indent=1))
        print(f"{name}: {figures.lost} of {figures.tried} lost", *figures.failures, sep="\n", flush=True)
    write_page(out, [*TRIALS], options.page)
    raise SystemExit(1 if lost else 0)


def _circumstances() -> dict[str, str | int]:
    """When, on what code, on how many processors."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "bpr_cli", "tests/trials")
    commit = git("rev-parse", "--short", "HEAD") + (" and changes" if changed else "")
    return {"commit": commit, "date": date.today().isoformat(), "processors": os.cpu_count() or 1}


if __name__ == "__main__":
    main()
