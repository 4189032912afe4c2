"""Refuse imports of heavy libraries at module level, but in the file that adapts them.

``import-linter`` sees every import alike; here only those count that run when the module is imported:
not those inside functions, not those under ``if TYPE_CHECKING``. Standard library only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

HEAVY = frozenset(
    "PIL PyQt5 PyQt6 PySide2 PySide6 cupy dask filelock imagecodecs imagej imageio jax jgo jpype lz4 matplotlib "
    "napari obstore omero pandas platformdirs psutil qtpy rich roifile scipy scyjava skimage superqt tensorflow "
    "tensorstore tifffile torch vispy zarr".split()
)
"""Top-level module names that cost time or need an extra."""

ADAPTERS: dict[str, frozenset[str]] = {
    "packages/openhcs-viewers/src/openhcs_viewers/_start.py": frozenset({"filelock"}),
    "packages/openhcs-viewers/src/openhcs_viewers/fiji/": frozenset({"jpype"}),
    "packages/openhcs-viewers/src/openhcs_viewers/napari/": frozenset({"napari", "qtpy", "vispy"}),
    "packages/polystore/src/polystore/backends/_imagej.py": frozenset({"roifile"}),
    "packages/polystore/src/polystore/objects/_obstore.py": frozenset({"obstore"}),
    "packages/polystore/src/polystore/backends/_pillow.py": frozenset({"PIL"}),
    "packages/polystore/src/polystore/backends/_tiff.py": frozenset({"tifffile"}),
    "packages/polystore/src/polystore/omezarr/_tensorstore.py": frozenset({"tensorstore"}),
    "packages/polystore/src/polystore/omezarr/_zarr.py": frozenset({"zarr"}),
}
"""Path, or folder ending in a slash, and the heavy modules it exists to adapt."""


def runs_on_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of `body` that run when the module is imported."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from runs_on_import(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from runs_on_import(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from runs_on_import(handler.body)


def offences(path: Path) -> Iterator[str]:
    """Yield one line for each heavy import of this file that is not its own business."""
    name = path.relative_to(ROOT).as_posix()
    allowed = frozenset[str]().union(*(mods for where, mods in ADAPTERS.items() if name.startswith(where)))
    for node in runs_on_import(ast.parse(path.read_text(encoding="utf-8"), name).body):
        modules = (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
        for module in modules:
            if (top := module.partition(".")[0]) in HEAVY - allowed:
                yield f"{name}:{node.lineno}: imports {top} at module level, not where it is needed"


def main() -> int:
    """Print every offence; return the exit status."""
    files = sorted(ROOT.glob("packages/*/src/**/*.py"))
    found = [line for path in files for line in offences(path)]
    print("\n".join(found) if found else f"{len(files)} files, no heavy import at module level")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
