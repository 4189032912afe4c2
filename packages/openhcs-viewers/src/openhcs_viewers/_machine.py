"""What the doctor looks at on the machine itself: shared memory, socket folder, what was left behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from openhcs_viewers._findings import FAIL, OK, WARN, Finding
from openhcs_viewers._start import log_dir
from polystore.payload import shm
from zmqruntime.config import Endpoint, runtime_dir
from zmqruntime.discovery import connections_dir, list_connections
from zmqruntime.errors import ZMQRuntimeError

TOPIC = "machine"

SHM_WANTED = 256 * 1024 * 1024
"""Free shared memory below which an arena is smaller than its 64 MB: it takes at most a quarter."""

MB = 1024 * 1024


def machine_findings() -> Iterator[Finding]:
    """Yield what there is to say about this machine, whatever the viewer."""
    yield _shared_memory()
    yield _leftovers()
    yield _runtime_dir()
    yield from _connections()
    yield _logs()


def _shared_memory() -> Finding:
    if not shm.available():
        text = f"no shared memory with names on {sys.platform}: images travel in messages, which is slower"
        return Finding(TOPIC, "shared memory", WARN, text)
    info = os.statvfs(shm.SHM_DIR)
    size, free = info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize
    text = f"{shm.SHM_DIR}: {free // MB} MB free of {size // MB} MB"
    if free < SHM_WANTED:
        remedy = "free some, or give the container more: docker run --shm-size=1g"
        return Finding(TOPIC, "shared memory", WARN, f"{text}: little, images may travel in messages", remedy)
    return Finding(TOPIC, "shared memory", OK, text)


def _leftovers() -> Finding:
    dead = [(name, size) for name, size, alive in shm.names() if not alive]
    if dead:
        total = sum(size for _, size in dead)
        text = f"{len(dead)} names of dead processes hold {total // MB} MB of shared memory"
        return Finding(TOPIC, "leftovers", WARN, text, "polystore shm gc (every new viewer does it, too)")
    return Finding(TOPIC, "leftovers", OK, "no shared memory of dead processes")


def _runtime_dir() -> Finding:
    try:
        folder = runtime_dir()
        if not os.access(folder, os.W_OK | os.X_OK):
            return Finding(
                TOPIC, "socket folder", FAIL, f"{folder} cannot be written to", f"chmod 700 {folder}"
            )
        longest = len(os.fsencode(Endpoint(transport="ipc").data_url.removeprefix("ipc://")))
    except (ZMQRuntimeError, OSError) as error:
        return Finding(
            TOPIC, "socket folder", FAIL, str(error), "set ZMQRUNTIME_DIR to a short folder of your own"
        )
    return Finding(
        TOPIC, "socket folder", OK, f"{folder} (socket paths of {longest} bytes, 107 are possible)"
    )


def _connections() -> Iterator[Finding]:
    try:
        files = len(list(connections_dir().glob("*.json")))
        alive = list_connections()
    except (ZMQRuntimeError, OSError) as error:
        yield Finding(
            TOPIC, "running servers", FAIL, str(error), "set ZMQRUNTIME_DIR to a folder of your own"
        )
        return
    text = ", ".join(f"{info.kind} on {info.data_port} (pid {info.pid})" for info in alive) or "none"
    if files > len(alive):
        text += f"; removed {files - len(alive)} connection files of dead or unreadable ones"
    yield Finding(TOPIC, "running servers", OK, text)


def _logs() -> Finding:
    folder = log_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            TOPIC,
            "logs",
            FAIL,
            f"{folder} cannot be written to",
            "set XDG_STATE_HOME to a folder of your own",
        )
    return Finding(TOPIC, "logs", OK, str(Path(folder)))
