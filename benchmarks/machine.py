"""Where it was measured: numbers of one machine say little without it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = (
    "zmqruntime",
    "polystore",
    "openhcs-viewers",
    "numpy",
    "pyzmq",
    "msgspec",
    "iceoryx2",
    "napari",
    "vispy",
    "PySide6-Essentials",
    "PyQt6",
)
"""Distributions whose version moves the numbers; those not installed are left out."""


DOUBTFUL = 0.05
"""Others' share of the processors from which on a measurement should be made again."""


def describe() -> dict[str, Any]:
    """Return processor, memory, system, versions and how busy the machine is now; plain JSON values."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "shared_memory_gb": _shared_memory_gb(),
        "huge_pages": _chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
        "huge_pages_shared": _chosen("/sys/kernel/mm/transparent_hugepage/shmem_enabled"),
        "system": platform.platform(),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "load_average": load(),
    }


def load() -> list[float]:
    """Return the load average over 1, 5 and 15 minutes; empty where the system keeps none."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []


class Neighbours:
    """How much of the processors others use from now on: what makes a measurement doubtful."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def share(self) -> float | None:
        """Return the part of all processors' time that processes other than ours used; None where nobody counts.

        Ours are this one and its children that have ended.
        """
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        others = (busy - self._busy) - (_own_seconds() - self._own)
        return round(max(0.0, others / (time.monotonic() - self._start) / (os.cpu_count() or 1)), 3)


def _busy_seconds() -> float | None:
    try:
        fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    user, nice, system, _idle, _waiting, irq, softirq, _stolen = fields
    return float(user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _shared_memory_gb() -> float | None:
    try:
        info = os.statvfs("/dev/shm")
    except (AttributeError, OSError):
        return None
    return round(info.f_frsize * info.f_blocks / 1e9, 2)


def _chosen(path: str) -> str | None:
    """Return the word in brackets of a kernel setting such as ``always [madvise] never``."""
    try:
        return Path(path).read_text().partition("[")[2].partition("]")[0]
    except OSError:
        return None
