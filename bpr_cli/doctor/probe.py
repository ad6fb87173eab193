"""What only importing tells: run as a process of its own, so that a package that brings Python down is but a finding.

Writes lines of JSON, one before each step that may end the process: `{"step": NAME}`, then `{"found": ...}`.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

# By what they are imported as: what refining needs, beside what the command line needs to get this far.
NEEDED = ("numpy", "cv2", "torch", "PIL", "simplejpeg", "pycocotools.mask", "safetensors", "tqdm")
# What other commands need, and what refining goes without.
OTHERS = ("faster_coco_eval", "jinja2", "webdataset")
OPTIONAL = ("openvino",)


TOLD = ("devices", "engines", "cache")  # steps whose outcome counts, beside whether they worked


def main() -> None:
    """Import each package, then ask torch and the engines what there is here."""
    names = [*NEEDED, *OTHERS, *(name for name in OPTIONAL if name in sys.argv[1:])]
    broken = [name for name in names if not _step(f"import {name}", partial(importlib.import_module, name))]
    if "torch" not in broken and "numpy" not in broken:
        _step("devices", _devices)
        _step("engines", partial(_engines, "openvino" in names and "openvino" not in broken))
        _step("cache", _cache)


def _step(name: str, work: Callable[[], Any]) -> bool:
    """Do one step and tell what it found; whether it worked."""
    _tell({"step": name})
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found, error = work(), None
        except Exception as raised:  # whatever a broken package raises is what is asked for
            found, error = None, f"{type(raised).__name__}: {raised}"
    notes = [str(warning.message) for warning in warned if issubclass(warning.category, UserWarning)]
    _tell({"found": found if name in TOLD else None, "error": error, "warnings": notes})
    return error is None


def _tell(document: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(document) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def _devices() -> dict[str, Any]:
    import torch

    found = {"cpu": f"{torch.get_num_threads()} threads"}
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        memory = f"{properties.total_memory / 2**30:.1f} GiB"
        found[f"cuda:{number}"] = f"{properties.name}, {memory}, compute {properties.major}.{properties.minor}"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple's GPU"
    return {"devices": found, "cuda_of_torch": torch.version.cuda or torch.version.hip}


def _engines(has_openvino: bool) -> list[dict[str, str]]:
    """Engine, device, precision and why of what can be used, that which `auto` takes first."""
    from bpr_cli.engines.devices import autocast_dtype, choose_device, precision_name, why_precision
    from bpr_cli.network.zoo import int8_file, zoo_names

    first = choose_device("auto")
    devices = [first] if first.type == "cpu" else [first, choose_device("cpu")]
    found = []
    for device in devices:
        precision, why = precision_name(autocast_dtype(device)), why_precision(device)
        if device.type == "cpu" and has_openvino:
            int8 = ", ".join(name for name in zoo_names() if int8_file(name))
            if int8:
                why_int8 = f"there is an 8-bit form: {int8}"
                found.append({"engine": "openvino", "device": "cpu", "precision": "int8", "why": why_int8})
            why_plain = f"other models; {why}" if int8 else why
            found.append({"engine": "openvino", "device": "cpu", "precision": precision, "why": why_plain})
        found.append({"engine": "torch", "device": str(device), "precision": precision, "why": why})
    return found


def _cache() -> str:
    from bpr_cli.engines.devices import cache_folder

    return str(cache_folder())
