"""`bpr doctor`: what is installed here, what works, and what to do about what does not."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bpr_cli import __version__
from bpr_cli.doctor import machine, packages
from bpr_cli.doctor.models import ModelState, model_states
from bpr_cli.doctor.probe import NEEDED, OPTIONAL
from bpr_cli.errors import DISTRIBUTION

PROBE_SECONDS = 120
# The probe sees the same packages as this process, in whatever way it came by them.
PROBE = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from bpr_cli.doctor.probe import main; main()"
LONGEST_ERROR = 400  # characters
# What is imported -> what pip knows it by, where they differ.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pycocotools.mask": "pycocotools",
    "faster_coco_eval": "faster-coco-eval",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do.

    Attributes:
        text, remedy: without a full stop.
        is_serious: whether `bpr refine` cannot run.
    """

    text: str
    remedy: str
    is_serious: bool = True


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that was found.

    Attributes:
        facts: section -> name -> what was found; of engines and models, lists.
        problems: the serious ones first.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether the main job can run."""
        return not any(problem.is_serious for problem in self.problems)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready, without names of users and of their folders."""
        problems = [
            {"problem": problem.text, "remedy": problem.remedy, "serious": problem.is_serious}
            for problem in self.problems
        ]
        document: dict[str, Any] = json.loads(
            without_user(json.dumps({**self.facts, "problems": problems, "well": self.is_well}))
        )
        return document


def check() -> Checkup:
    """Look at everything; imports happen in a process of their own."""
    wanted = packages.requirements()
    steps = dict(_probe())
    models = model_states()
    facts = {
        "versions": _versions(wanted),
        "machine": _machine(),
        "devices": _found(steps, "devices", {}).get("devices", {}),
        "engines": _found(steps, "engines", []),
        "models": [{"name": model.name, "bytes": model.size, "faults": list(model.faults)} for model in models],
        "caches": _caches(_found(steps, "cache", None)),
        "extras": _extras(wanted),
    }
    problems = [*_package_problems(wanted, steps), *_step_problems(steps), *_model_problems(models)]
    problems += [*_gpu_problems(_found(steps, "devices", {})), *_cache_problems(facts["caches"])]
    return Checkup(facts, sorted(problems, key=lambda problem: not problem.is_serious))


def without_user(text: str) -> str:
    """Text with ~ for the home folder, and no user's name in other paths."""
    homes = {str(Path.home()), str(Path.home().resolve())}
    for home in sorted(homes | {json.dumps(home)[1:-1] for home in homes}, key=len, reverse=True):
        if len(home) > 1:
            text = re.sub(re.escape(home) + r"(?![\w.-])", "~", text)
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name, and then none to hide
        return text
    return text if user == "root" else re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\\"\s]|$)", "USER", text)


def _probe() -> Iterator[tuple[str, dict[str, Any]]]:
    """Step -> what it found, until the last, which may have ended the process."""
    optional = [name for name in OPTIONAL if find_spec(name) is not None]  # as `engines.engine` sees it
    command = [sys.executable, "-c", PROBE, json.dumps(sys.path), *optional]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
        output, end = ended.stdout, f"Python ended with code {ended.returncode}"
        if ended.returncode and (said := ended.stderr.strip()):
            end += f": {said.splitlines()[-1]}"
    except subprocess.TimeoutExpired as slow:
        output = slow.stdout.decode(errors="replace") if isinstance(slow.stdout, bytes) else slow.stdout or ""
        end = f"no answer within {PROBE_SECONDS} s"
    step = "start"
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except json.JSONDecodeError:  # some packages print when they are imported
            continue
        if not isinstance(said, dict):
            continue
        if "step" in said:
            step = said["step"]
        elif "found" in said:
            yield step, said
            step = ""
    if step:
        yield step, {"found": None, "error": end, "warnings": []}


def _found(steps: dict[str, dict[str, Any]], name: str, default: Any) -> Any:
    found = steps.get(name, {}).get("found")
    return default if found is None else found


def _versions(wanted: list[packages.Requirement]) -> dict[str, str]:
    names = sorted({requirement.name for requirement in wanted if requirement.extra not in ("dev", "docs")})
    return {
        "bpr": __version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        **{name: packages.installed_version(name) or "missing" for name in names if name != DISTRIBUTION},
    }


def _machine() -> dict[str, str]:
    name, flags = machine.processor()
    every, usable = machine.cores()
    total, free = machine.memory()
    sizes = [f"{size / machine.GIB:.1f} GiB{what}" for size, what in ((total, ""), (free, " free")) if size is not None]
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES") if name in os.environ}
    return {
        "system": machine.system(),
        "processor": f"{name}; {every} cores, {usable} usable",
        "its flags": " ".join(flags) or "not listed",
        "memory": ", ".join(sizes) or "unknown",
        **threads,
    }


def _caches(networks: str | None) -> list[dict[str, Any]]:
    """Folder, size, room and whether it can be written to, of each folder that is written to by itself."""
    folders = {"temporary files": Path(tempfile.gettempdir())}
    if networks is not None:
        folders = {"converted networks": Path(networks), **folders}
    found = []
    for name, folder in folders.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        is_cache = name == "converted networks"
        found.append(
            {
                "name": name,
                "folder": str(folder),
                "bytes": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if is_cache else None,
                "free": shutil.disk_usage(there).free,
                "writable": there.is_dir() and os.access(there, os.W_OK),
            }
        )
    return found


def _extras(wanted: list[packages.Requirement]) -> dict[str, list[str]]:
    """Extra -> what it lacks; none: it is complete."""
    found = {}
    for extra, members in packages.by_extra(wanted).items():
        lacks = [(member.name, packages.lacking(member)) for member in members]
        found[extra] = [name if lack == "missing" else f"{name} ({lack})" for name, lack in lacks if lack is not None]
    return found


def _package_problems(wanted: list[packages.Requirement], steps: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    if not wanted:
        yield Problem(f"{DISTRIBUTION} is not installed, and no pyproject.toml is beside it", "pip install .", False)
    tried = {step.removeprefix("import "): said["error"] for step, said in steps.items() if step.startswith("import ")}
    works = {DISTRIBUTIONS.get(module, module) for module, error in tried.items() if error is None}
    lacks = {r.name: packages.lacking(r) for r in wanted if r.extra is None}
    for requirement in wanted:
        lack = lacks.get(requirement.name) if requirement.extra is None else None
        # cv2, say, comes from several packages: what can be imported is not missing.
        if lack is not None and not (lack == "missing" and requirement.name in works):
            yield Problem(
                f"{requirement.name}: {lack}",
                f"pip install '{requirement.name}{requirement.versions}'",
                is_serious=lack == "missing",
            )
    for module, error in tried.items():
        name = DISTRIBUTIONS.get(module, module)
        if error is None or lacks.get(name) == "missing":  # said above
            continue
        remedy = f"pip install --force-reinstall {name}"
        if module in OPTIONAL:
            remedy += "; until then use --engine torch"
        yield Problem(f"{name} cannot be imported: {_short(error)}", remedy, module in (*NEEDED, *OPTIONAL))


def _step_problems(steps: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    """What failed, or warned, after all packages were imported."""
    for step, said in steps.items():
        if said["error"] is not None and not step.startswith("import "):
            yield Problem(f"{step} could not be looked at: {_short(said['error'])}", "Report it with this text")
        for warning in said["warnings"]:
            if step in ("devices", "engines"):
                yield Problem(_short(warning), "Check the GPU's driver, or use --device cpu", is_serious=False)


def _model_problems(models: list[ModelState]) -> Iterator[Problem]:
    if not models:
        yield Problem("no model ships with this installation", f"pip install --force-reinstall {DISTRIBUTION}")
    for model in models:
        for fault in model.faults:
            yield Problem(
                f"model {model.name}: {fault}",
                f"pip install --force-reinstall {DISTRIBUTION}, or git checkout models/{model.name} in a checkout",
            )


def _gpu_problems(devices: dict[str, Any]) -> Iterator[Problem]:
    """An NVIDIA GPU that torch does not use."""
    has_gpu = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    if devices and has_gpu and not any(name.startswith("cuda") for name in devices["devices"]):
        built = devices["cuda_of_torch"]
        how = f"for {built}" if built else "without CUDA"
        yield Problem(
            f"there is an NVIDIA GPU, which torch does not see (it was built {how})",
            "Check the driver with nvidia-smi" if built else "Install a CUDA build of torch: pytorch.org",
            is_serious=False,
        )


def _cache_problems(caches: list[dict[str, Any]]) -> Iterator[Problem]:
    for cache in caches:
        if not cache["writable"]:
            yield Problem(
                f"{cache['folder']} ({cache['name']}) cannot be written to",
                "Set TORCH_HOME to a folder of yours; until then starts stay slow"
                if cache["name"] == "converted networks"
                else "Set TMPDIR to a folder of yours",
                is_serious=False,
            )


def _short(error: str) -> str:
    line = " ".join(error.split())
    return line if len(line) <= LONGEST_ERROR else f"{line[:LONGEST_ERROR]}..."
