"""Which viewers there are, by name: entry points of the group ``openhcs_viewers.viewers``.

Ours stand in this package's own ``pyproject.toml`` and come through the same door as a third party's:

.. code-block:: toml

    [project.entry-points."openhcs_viewers.viewers"]
    mine = "my_package.viewer:MyViewer"

Listing names imports nothing; `viewer_class` imports the one that was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from openhcs_viewers.errors import MissingExtraError, ViewerNotFoundError
from polystore.config_sources import config_files, read_table
from polystore.errors import BackendLoadError, BackendNotFoundError
from polystore.registry import Plugin, Registry

if TYPE_CHECKING:
    from openhcs_viewers.abc import Viewer
    from zmqruntime import ZMQServer

GROUP = "openhcs_viewers.viewers"
"""Entry point group of viewers."""

DEFAULT_PORTS = {"napari": 5555, "fiji": 5556, "web": 5557}
"""Data port of each kind when none is given, as the original documents say."""

OTHER_PORT = 5560
"""Data port of every other kind when none is given."""

WINDOWLESS = frozenset({"fiji"})
"""Viewers that can do without any window."""

_BEFORE = {"fiji": "openhcs_viewers.fiji._before:announce"}
"""What the process that launches a viewer calls first, by kind: gets the options of the launch."""

VIEWERS: Registry[type[Viewer]] = Registry("viewer", group=GROUP)
"""All viewers. `VIEWERS.register(name, "module:Class")` adds one for this program; the viewer's own process is
told that text, so its module must be importable there."""

SERVERS: Registry[type[ZMQServer]] = Registry(
    "server",
    group="zmqruntime.servers",
    builtins={"viewer": "openhcs_viewers.server:ViewerServer", "echo": "zmqruntime.testing:EchoServer"},
)
"""Classes of servers. zmqruntime itself has no registry: it stands below."""

TASKS: Registry[Callable[..., Any]] = Registry(
    "task",
    group="openhcs_viewers.tasks",
    builtins={
        name: f"openhcs_viewers.demo.analysis:{name}"
        for name in ("cell_counting_cpu", "count_cells", "label_cells", "subtract_background")
    },
)
"""Functions a step of a pipeline can name; they travel to a server by name, never as code."""

_EXTRAS = {
    "fiji": frozenset({"imagej", "jgo", "jpype", "roifile", "scyjava"}),
    "napari": frozenset({"napari", "qtpy", "PySide6", "PyQt6", "vispy"}),
}
"""Modules whose absence means that this package's extra of that name is not installed."""


def viewer_names() -> tuple[str, ...]:
    """Return the names of all viewers, sorted. Imports none of them."""
    return VIEWERS.names()


def viewer_plugin(name: str) -> Plugin:
    """Return what is registered under `name`: its class as text, and who provides it. Imports nothing.

    Raises
    ------
    ViewerNotFoundError
        There is no such viewer; the text lists those there are.
    """
    try:
        return VIEWERS.plugin(name)
    except BackendNotFoundError as error:
        raise ViewerNotFoundError(f"{error}; a package adds one by an entry point in {GROUP!r}") from None


def viewer_class(name: str) -> type[Viewer]:
    """Import and return the class of viewer `name`.

    Raises
    ------
    ViewerNotFoundError
        There is no such viewer.
    MissingExtraError
        Its module cannot be imported; the text holds the command that installs what is missing.
    """
    viewer_plugin(name)
    try:
        return VIEWERS.get(name)
    except BackendLoadError as error:
        cause = error.__cause__
        missing = (cause.name or "").partition(".")[0] if isinstance(cause, ImportError) else ""
        if missing in _EXTRAS.get(name, ()):
            raise MissingExtraError(
                f"viewer {name!r} needs {missing}: pip install 'openhcs-viewers[{name}]'", name=missing
            ) from error
        raise MissingExtraError(
            f"{error}; 'openhcs-viewers doctor {name}' says what is missing", name=missing
        ) from error


def announce_start(name: str, options: Mapping[str, str]) -> None:
    """Have a viewer say, in the process that launches it, what its own log would say to nobody."""
    if name in _BEFORE:
        module, _, function = _BEFORE[name].partition(":")
        getattr(import_module(module), function)(options)


def default_port(name: str) -> int:
    """Return the data port that viewer `name` gets when none is asked for.

    That of a configuration file or an environment variable (``OPENHCS_NAPARI_PORT``) where one says so.

    Raises
    ------
    polystore.errors.SettingsError
        What they say cannot be understood.
    """
    port = None
    if os.environ.get(f"OPENHCS_{name.upper()}_PORT") or any(
        name in read_table(path) for path in config_files(os.environ)
    ):
        # Here, where there is something to read: it imports NumPy, which a command that launches a viewer does not.
        from openhcs_viewers.config import configured_port

        port = configured_port(name)
    return DEFAULT_PORTS.get(name, OTHER_PORT) if port is None else port


def asked_port(name: str, port: int | None) -> int | None:
    """Return `port`, or None when it is the default of viewer `name`.

    Configurations carry the default port without anybody having typed it: then a stranger who has it is no
    error, the next free pair will do.
    """
    return None if port == default_port(name) else port
