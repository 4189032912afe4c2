"""The examples of the document on plugin registries, with only their import paths changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from polystore.microscopes import MICROSCOPE_HANDLERS
from polystore.registry import LazyDiscoveryDict

SCOPES = ["cellomics", "cellvoyager", "imagexpress", "omero", "openhcs", "opera_phenix"]


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The third-party package of the document, installed."""
    package = tmp_path / "site" / "my_openhcs_plugin"
    package.mkdir(parents=True)
    (package / "microscopes.py").write_text(
        textwrap.dedent(
            """
            from polystore.microscopes.microscope_base import MicroscopeHandler

            class MyMicroscopeHandler(MicroscopeHandler):
                _microscope_type = 'my_microscope'

                def parse_filename(self, filename):
                    # Implementation
                    pass
            """
        )
    )
    (package / "backends.py").write_text("")
    (package / "__init__.py").write_text(
        textwrap.dedent(
            '''
            def register_plugins():
                """Register third-party plugins with OpenHCS."""
                # Import your plugin modules to trigger registration
                from . import microscopes
                from . import backends
            # Auto-register on import
            register_plugins()
            '''
        )
    )
    return package.parent


def declare(site: Path) -> None:
    info = site / "my_openhcs_plugin-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-openhcs-plugin\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        "[polystore.microscopes]\nmy_microscope = my_openhcs_plugin.microscopes:MyMicroscopeHandler\n"
    )


def run(site: Path, code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(site)}, cwd=site,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_caching_is_enabled_by_default() -> None:
    handlers = LazyDiscoveryDict(enable_cache=True)
    assert list(handlers.keys()) == SCOPES
    assert list(handlers.keys()) == SCOPES
    assert handlers.registry is MICROSCOPE_HANDLERS.registry
    assert handlers.cache_path is not None


def test_caching_can_be_disabled_for_one_registry() -> None:
    handlers = LazyDiscoveryDict(enable_cache=False)
    try:
        assert list(handlers.keys()) == SCOPES
        assert handlers.cache_path is None
    finally:
        MICROSCOPE_HANDLERS.registry.refresh(enable_cache=True)


def test_all_caches_are_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polystore.registry_cache import RegistryCacheManager
    from polystore.xdg_paths import get_openhcs_cache_dir

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    RegistryCacheManager("anything").save_cache({})
    shutil.rmtree(get_openhcs_cache_dir())
    assert list(LazyDiscoveryDict(enable_cache=True).keys()) == SCOPES


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_discovery_before_or_in_the_workers(method: str, tmp_path: Path) -> None:
    # A script of its own: workers that are spawned import the main module again.
    script = tmp_path / "pool.py"
    script.write_text(
        textwrap.dedent(f"""
            import multiprocessing
            from polystore.microscopes import MICROSCOPE_HANDLERS

            def handler_of(item):
                return MICROSCOPE_HANDLERS[item].__name__

            if __name__ == "__main__":
                _ = list(MICROSCOPE_HANDLERS.keys()) # Discover once
                with multiprocessing.get_context({method!r}).Pool(2) as pool:
                    print(*pool.map(handler_of, ["openhcs", "imagexpress"]))
                    pool.close()
                    pool.join()
            """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["OpenHCSHandler", "ImageXpressHandler"]


def test_a_secondary_registry_is_complete_in_a_fresh_process(tmp_path: Path) -> None:
    code = """
        from polystore.microscopes import METADATA_HANDLERS
        available_types = list(METADATA_HANDLERS.keys())
        print(*available_types)
        """
    found = run(tmp_path, code)
    assert {"imagexpress", "opera_phenix", "cellvoyager", "openhcs"} <= set(found)


def test_a_plugin_package_registers_itself_on_import(plugin: Path) -> None:
    code = """
        import my_openhcs_plugin # Auto-registers plugins
        from polystore.microscopes import MICROSCOPE_HANDLERS
        # Now available in registries
        handler = MICROSCOPE_HANDLERS['my_microscope']
        print(handler.__name__, 'my_microscope' in list(MICROSCOPE_HANDLERS.keys()))
        """
    assert run(plugin, code) == ["MyMicroscopeHandler", "True"]


def test_a_plugin_that_declares_an_entry_point_is_there_without_an_import(plugin: Path) -> None:
    declare(plugin)
    code = """
        import sys
        from polystore.microscopes import MICROSCOPE_HANDLERS
        print('my_microscope' in list(MICROSCOPE_HANDLERS.keys()), 'my_openhcs_plugin' in sys.modules)
        plugin = MICROSCOPE_HANDLERS.registry.plugin('my_microscope')
        print(MICROSCOPE_HANDLERS['my_microscope'].__name__, plugin.origin)
        """
    expected = ["True", "False", "MyMicroscopeHandler", "my-openhcs-plugin", "0.1"]
    assert run(plugin, code) == expected
    assert run(plugin, code) == expected


def test_what_the_document_asks_of_a_plugin_that_is_missing(plugin: Path) -> None:
    code = """
        import inspect
        from my_openhcs_plugin.microscopes import MyMicroscopeHandler as MyPlugin
        print(hasattr(MyPlugin, '_microscope_type'), inspect.isabstract(MyPlugin))
        from polystore.microscopes import MICROSCOPE_HANDLERS
        print(f"Discovery group: {MICROSCOPE_HANDLERS.registry.group}")
        if MICROSCOPE_HANDLERS.cache_path:
            print(f"Cache path: {MICROSCOPE_HANDLERS.cache_path}")
        """
    words = run(plugin, code)
    assert words[:2] == ["True", "False"]
    assert words[4] == "polystore.microscopes"
    assert words[-1].startswith(os.environ["XDG_CACHE_HOME"])
