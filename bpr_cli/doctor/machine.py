"""What the machine is, as far as Python's own library tells."""

from __future__ import annotations

import os
import platform
from pathlib import Path

GIB = 1 << 30
# Flags that decide how fast a network runs, and whether binary packages run at all.
FLAGS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "bf16", "i8mm", "sve"),
)


def processor() -> tuple[str, list[str]]:
    """Name, and which of FLAGS it has; where the system does not list them there are none."""
    listing = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    has = set((fields.get("flags") or fields.get("Features") or "").split())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name, [flag for flag in FLAGS if flag in has]


def cores() -> tuple[int, int]:
    """How many there are, and how many this process may use."""
    every = os.cpu_count() or 1
    return every, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every


def memory() -> tuple[int | None, int | None]:
    """Bytes in all and free; None where the system does not say. A container's limit counts as all."""
    listing = Path("/proc/meminfo")
    if listing.is_file():
        lines = (line.partition(":") for line in listing.read_text().splitlines())
        sizes = {name: int(value.split()[0]) * 1024 for name, _, value in lines if value.strip()}
        every, free = sizes.get("MemTotal"), sizes.get("MemAvailable")
        limit = _limit()
        if limit is not None and every is not None and limit < every:
            return limit, None
        return every, free
    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(os.sysconf_names):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    return None, None


def _limit() -> int | None:
    """The container's limit of memory in bytes."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(name)
        if path.is_file():
            text = path.read_text().strip()
            return int(text) if text.isdigit() else None
    return None


def system() -> str:
    """Name, version and kind of machine; no host name."""
    return f"{platform.system()} {platform.release()}, {platform.machine()}, {' '.join(platform.libc_ver())}".rstrip(
        ", "
    )
