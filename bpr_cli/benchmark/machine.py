"""What a benchmark ran on: figures mean little without it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from bpr_cli import __version__

PACKAGES = ("torch", "openvino", "numpy", "opencv-python-headless", "pycocotools")


def machine_facts(device: torch.device) -> dict[str, str]:
    """Device, processor, threads, system and versions, by name."""
    facts = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "bpr": __version__,
    }
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def _processor() -> str:
    """The processor's name: Python's own answer is empty on Linux."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
