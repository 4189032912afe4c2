"""Refuse messages and files that are decoded as a class for the first time wherever it happens to be needed.

msgspec makes its tables of a class when that is first used, and two threads that do so at once crash the process
(seen with 0.22: a segmentation fault in one of some hundred starts). A `Decoder` at module level makes them under the
lock of the import.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def offences(path: Path) -> Iterator[str]:
    """Yield one line for each call ``decode(..., type=...)`` that names a class."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = [keyword.value for keyword in node.keywords if keyword.arg == "type"]
        if node.func.attr == "decode" and any(not _is_plain(value) for value in given):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: decode(type=...): use a Decoder of the module"


def _is_plain(value: ast.expr) -> bool:
    """Whether a type is made of builtins, which need no tables."""
    return ast.unparse(value) in ("dict[str, Any]", "Any")


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    files = sorted(ROOT.glob("packages/*/src/**/*.py"))
    found = [line for path in files for line in offences(path)]
    print("\n".join(found) if found else f"{len(files)} files, every class has its decoder")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
