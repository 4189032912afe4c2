"""What the tests of this package share: folders of their own, viewers that end, something to wait with."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.launcher import launch, list_viewers
from openhcs_viewers.registry import VIEWERS

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sockets, connection files and logs in a folder of this test; every viewer in it is ended, and none is left."""
    folder = Path(tempfile.mkdtemp(prefix="ohv-"))  # short: socket paths have 107 bytes at most
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(folder / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("OPENHCS_CONFIG", os.devnull)  # whatever the machine and its user have configured
    yield folder
    for handle in list_viewers():
        handle.stop(force=True, timeout=1.0)
    from polystore.streaming.sender import close_senders

    close_senders(0.0)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def odd_viewers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The viewers of ``plugins/odd_viewers.py`` under their names in lower case."""
    path = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    names = ["NoDisplay", "Dying", "Slow", "Stuck", "Deaf", "ClosedByUser", "Faulty"]
    for name in names:
        VIEWERS.register(name.lower(), f"odd_viewers:{name}")
    VIEWERS.register("needsmore", "needs_more:NeedsMore")
    yield
    for name in [*names, "NeedsMore"]:
        VIEWERS.unregister(name.lower())


@pytest.fixture
def start() -> Iterator[Callable[..., ViewerHandle]]:
    """Launch a recording viewer (or another) as a child of the test process."""
    with ExitStack() as stack:

        def begin(kind: str = "recording", **options: Any) -> ViewerHandle:
            options.setdefault("detached", False)
            handle = launch(kind, **options)
            stack.callback(handle.stop, force=True, timeout=1.0)
            return handle

        yield begin


@pytest.fixture
def images() -> list[np.ndarray[Any, Any]]:
    """Four different small images."""
    return [np.full((8, 16), value, np.uint16) for value in (1, 2, 3, 4)]


@pytest.fixture
def stranger() -> Iterator[Callable[[int], socket.socket]]:
    """Listen on a tcp port of this machine as a program that is no viewer."""
    with ExitStack() as stack:

        def listen(port: int) -> socket.socket:
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            sock.listen()
            return sock

        yield listen


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python code, or a script, in a process of its own."""

    def run(*arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=timeout)

    return run
