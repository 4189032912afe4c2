"""Viewers by name: listed without importing one, loaded one at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openhcs_viewers.errors import MissingExtraError, ViewerNotFoundError
from openhcs_viewers.registry import (
    GROUP,
    SERVERS,
    TASKS,
    VIEWERS,
    asked_port,
    default_port,
    viewer_class,
    viewer_names,
    viewer_plugin,
)
from openhcs_viewers.testing import RecordingViewer


def test_ours_come_by_entry_point() -> None:
    assert {"napari", "recording"} <= set(viewer_names())
    assert viewer_plugin("napari").origin.startswith("openhcs-viewers ")
    assert viewer_plugin("recording").target == "openhcs_viewers.testing:RecordingViewer"


def test_listing_imports_no_viewer() -> None:
    code = (
        "import sys; from openhcs_viewers.registry import viewer_names; viewer_names();"
        "print({'napari', 'qtpy', 'openhcs_viewers.napari', 'openhcs_viewers.testing'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def test_a_viewer_is_loaded_by_name() -> None:
    assert viewer_class("recording") is RecordingViewer


def test_an_unknown_name_lists_those_known() -> None:
    with pytest.raises(
        ViewerNotFoundError, match=rf"napri.*napari, recording.*did you mean 'napari'.*{GROUP}"
    ):
        viewer_class("napri")


@pytest.mark.usefixtures("odd_viewers")
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugins"))
    with pytest.raises(MissingExtraError, match=r"a_package_that_nobody_has.*doctor needsmore"):
        viewer_class("needsmore")


def test_the_extra_of_a_built_in_viewer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari", None)
    monkeypatch.delitem(sys.modules, "napari.viewer", raising=False)
    VIEWERS.register("napari", "napari.viewer:Viewer", replace=True)
    try:
        with pytest.raises(MissingExtraError, match=r"pip install 'openhcs-viewers\[napari\]'"):
            viewer_class("napari")
    finally:
        VIEWERS.unregister("napari")


def test_built_in_servers_and_tasks_are_what_their_names_say() -> None:
    from zmqruntime import ZMQServer

    assert SERVERS.names()[:1] == ("echo",)
    assert all(issubclass(SERVERS.get(name), ZMQServer) for name in SERVERS.names())
    assert "cell_counting_cpu" in TASKS.names()
    assert all(TASKS.get(name).__name__ == name for name in TASKS.names())


@pytest.mark.parametrize(
    ("kind", "port"), [("napari", 5555), ("fiji", 5556), ("web", 5557), ("recording", 5560)]
)
def test_default_ports(kind: str, port: int) -> None:
    assert default_port(kind) == port
    assert asked_port(kind, port) is None
    assert asked_port(kind, port + 10) == port + 10
    assert asked_port(kind, None) is None
