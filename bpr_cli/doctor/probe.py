"""What only importing tells: run as a process of its own, so that a package that brings Python down is but a finding.

Writes lines of JSON, one before each step that may end the process: `{"step": NAME}`, then `{"found": ...}`.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

# By what they are imported as; what stands in pyproject.toml's dependencies, without those that the command line needs
# to get this far.
NEEDED = (
    *("numpy", "cv2", "torch", "PIL", "simplejpeg", "pycocotools.mask", "safetensors", "faster_coco_eval"),
    *("jinja2", "tqdm", "webdataset"),
)
OPTIONAL = ("openvino",)


def main() -> None:
    """Import each package, then ask torch and the engines what there is here."""
    names = [*NEEDED, *(name for name in OPTIONAL if name in sys.argv[1:])]
    broken = [name for name in names if not _step(f"import {name}", lambda name=name: _import(name))]
    if "torch" not in broken and "numpy" not in broken:
        _step("devices", _devices)
        _step("engines", lambda: _engines("openvino" in names and "openvino" not in broken))
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
    _tell({"found": found, "error": error, "warnings": notes})
    return error is None


def _tell(document: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(document) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def _import(name: str) -> None:
    importlib.import_module(name)


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
            eight_bits = {"precision": "int8", "why": f"there is an 8-bit form: {int8}"}
            plain = {"precision": precision, "why": f"other models; {why}"}
            found += [
                {"engine": "openvino", "device": "cpu", **part} for part in ((eight_bits, plain) if int8 else (plain,))
            ]
        found.append({"engine": "torch", "device": str(device), "precision": precision, "why": why})
    return found


def _cache() -> str:
    from bpr_cli.engines.devices import cache_folder

    return str(cache_folder())
