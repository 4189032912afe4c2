"""ImageJ in this process: what it says of itself, its window, its end."""

from __future__ import annotations

from pathlib import Path

from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji.engine import Engine


def test_it_is_the_pinned_imagej_with_a_window(engine: Engine, java_home_folder: Path) -> None:
    assert (engine.route, engine.version, engine.gateway) == ("maven", "1.54p", None)
    assert "net.imagej:ij:1.54p" in engine.description
    frame = java("ij.IJ").getInstance()
    assert str(frame.getTitle()) == "test window"
    assert frame.isVisible()
    assert str(java("ij.Prefs").getPrefsDir()).startswith(str(java_home_folder))
