"""The machine and the versions that a figure was measured with."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

from loadtest import h2load

PACKAGES = ("grpcio", "onnxruntime", "protobuf", "numpy", "uvloop")


def facts() -> dict[str, str | int | float]:
    """CPU, cores, versions, and how busy the machine was already (load average of one minute)."""
    return {
        "measured": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "h2load": h2load.version() or "not installed",
    }


def cpu_model(cpuinfo: str) -> str:
    """The first model name in /proc/cpuinfo; the architecture where there is none (Arm)."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
