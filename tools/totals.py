"""Add up test reports and print one line: ``tests: 312 passed, 0 failed``.

Usage: ``python tools/totals.py LABEL REPORT.xml ...`` (JUnit files, as ``pytest --junitxml`` writes them).
Exits with 1 when a test failed, or when there is no report to read.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def totals(reports: list[Path]) -> tuple[int, int, int]:
    """Return how many tests passed, failed (errors included) and were skipped."""
    passed = failed = skipped = 0
    for report in reports:
        for suite in ET.parse(report).getroot().iter("testsuite"):
            tests, errors, failures, skips = (
                int(suite.get(name, "0")) for name in ("tests", "errors", "failures", "skipped")
            )
            passed += tests - errors - failures - skips
            failed += errors + failures
            skipped += skips
    return passed, failed, skipped


def main(label: str, *names: str) -> int:
    """Print the line for the reports of these names; return the exit status."""
    reports = [Path(name) for name in names if Path(name).is_file()]
    if not reports:
        print(f"{label}: no report, so no test ran to its end")
        return 1
    passed, failed, skipped = totals(reports)
    print(f"{label}: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
