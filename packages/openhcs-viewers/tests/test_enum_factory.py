"""Names of colormaps: asked of napari once, by another process, and kept."""

from __future__ import annotations

import json
import multiprocessing.reduction
import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

import pytest

from openhcs_viewers.enum_factory import NapariColormap, create_colormap_enum
from polystore.registry_cache import RegistryCacheManager

NAMES = ["gray", "viridis", "my own", "3-d", "I Blue"]


@pytest.fixture
def napari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A napari of another version, which counts how often it is imported."""
    site = tmp_path / "site"
    package = site / "napari" / "utils"
    package.mkdir(parents=True)
    (site / "napari" / "__init__.py").write_text(
        f"with open({str(tmp_path / 'imported')!r}, 'a') as file: file.write('x')\nprint('a plugin says hello')\n"
    )
    (package / "__init__.py").write_text("")
    (package / "colormaps.py").write_text(f"AVAILABLE_COLORMAPS = dict.fromkeys({NAMES!r})\n")
    info = site / "napari-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: napari\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "imported"


def asked(napari: Path) -> int:
    return len(napari.read_text()) if napari.exists() else 0


def test_the_installed_napari_is_asked_once(napari: Path) -> None:
    colormaps = create_colormap_enum()
    assert [member.value for member in colormaps] == NAMES
    assert colormaps("my own").name == "MY_OWN"
    assert colormaps("3-d").name == "C_3_D"
    assert create_colormap_enum() is colormaps
    assert asked(napari) == 1
    code = (
        "import json, sys; from openhcs_viewers.enum_factory import create_colormap_enum;"
        "print(json.dumps([m.value for m in create_colormap_enum()])); assert 'napari' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == NAMES
    assert asked(napari) == 1


def test_another_version_of_napari_is_asked_again(napari: Path) -> None:
    create_colormap_enum()
    site = Path(os.environ["PYTHONPATH"])
    (site / "napari-99.0.dist-info").rename(site / "napari-99.1.dist-info")
    create_colormap_enum()
    assert asked(napari) == 2


def test_names_are_forgotten_after_thirty_days(napari: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_colormap_enum()
    path = RegistryCacheManager("colormap_enum").cache_path
    for days_old, times in ((29, 1), (31, 2)):
        content = json.loads(path.read_text())
        content["timestamp"] -= days_old * 86400
        path.write_text(json.dumps(content))
        create_colormap_enum()
        assert asked(napari) == times
    monkeypatch.setenv("POLYSTORE_COLORMAP_CACHE_DAYS", "0")
    create_colormap_enum()
    assert asked(napari) == 3


def test_without_the_cache_napari_is_asked_each_time_and_nothing_is_kept(napari: Path) -> None:
    create_colormap_enum(enable_cache=False)
    create_colormap_enum(enable_cache=False)
    assert asked(napari) == 2
    assert not RegistryCacheManager("colormap_enum").cache_path.exists()


def test_lazily_nobody_is_asked(napari: Path) -> None:
    assert create_colormap_enum(lazy=True) is NapariColormap
    assert asked(napari) == 0


def test_without_napari_the_table_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("openhcs_viewers.enum_factory.version_of", lambda name: "")
    assert create_colormap_enum() is NapariColormap
    assert NapariColormap.GRAY.value == "gray"


def test_a_napari_that_cannot_be_imported_is_no_error(napari: Path, caplog: pytest.LogCaptureFixture) -> None:
    (Path(os.environ["PYTHONPATH"]) / "napari" / "__init__.py").write_text("raise ImportError('no Qt here')")
    assert create_colormap_enum() is NapariColormap
    assert "no Qt here" in caplog.text
    assert not RegistryCacheManager("colormap_enum").cache_path.exists()


def test_a_name_travels_to_another_process(napari: Path) -> None:
    colormap = create_colormap_enum()("my own")
    assert isinstance(colormap, StrEnum)
    sent = bytes(multiprocessing.reduction.ForkingPickler.dumps(colormap))
    assert multiprocessing.reduction.ForkingPickler.loads(sent) == "my own"
