"""Where viewers are measured: a display, and a fresh process for each part of a group."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import machine
from benchmarks.harness import ROOT
from benchmarks.rows import BenchmarkError

PART_SECONDS = 240.0
"""Longest a part may take; the longest takes 60 s."""


@contextlib.contextmanager
def display(group: str) -> Iterator[dict[str, str]]:
    """Give the environment of a display that can be opened: this desktop's, else a virtual one.

    Raises
    ------
    BenchmarkError
        There is no display and none can be started.
    """
    from openhcs_viewers.display import VirtualDisplay, check_display
    from openhcs_viewers.errors import DisplayError

    try:
        print(f"{group}: on {check_display()}", flush=True)
    except DisplayError:
        pass
    else:
        yield {}
        return
    try:
        virtual = VirtualDisplay()
    except DisplayError as error:
        raise BenchmarkError(str(error)) from error
    with virtual:
        print(f"{group}: on the virtual display {virtual.name}", flush=True)
        yield virtual.env


def part(group: str, module: str, environment: dict[str, str], name: str, *arguments: int) -> dict[str, Any]:
    """Return what ``python -m MODULE NAME ARGUMENT ...`` measured: the last line it prints, as JSON.

    It runs with an empty configuration and sockets of its own.

    Raises
    ------
    BenchmarkError
        It failed or took too long; with what it said.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        own = {
            "ZMQRUNTIME_DIR": folder,
            "XDG_CONFIG_HOME": f"{folder}/config",
            "XDG_CACHE_HOME": f"{folder}/cache",
        }
        base = {
            key: value for key, value in os.environ.items() if not (environment and key == "WAYLAND_DISPLAY")
        }
        process = subprocess.Popen(
            [sys.executable, "-m", module, name, *map(str, arguments)],
            cwd=ROOT,
            env={**base, **environment, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            out, errors = process.communicate(timeout=PART_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"part {name} took longer than {PART_SECONDS:g} s") from error
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise BenchmarkError(f"part {name} failed:\n{errors[-2000:]}")
    load = machine.load()
    print(
        f"{group}: part {name}, {time.monotonic() - start:.0f} s, load {load[0] if load else '?'}", flush=True
    )
    return dict(json.loads(out.splitlines()[-1]))
