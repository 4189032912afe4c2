"""What every test session shares: ``--slow``, and a skip that fails in CI."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

ALLOWED_SKIPS: dict[str, str] = {
    "packages/polystore/tests/test_cp.py": "the acquisitions are not in the repository",
    "packages/polystore/tests/microscopes/test_real_imagexpress.py": "the acquisitions are not in the repository",
    "packages/polystore/tests/omezarr/test_real_acquisitions.py": "the acquisitions are not in the repository",
    "packages/polystore/tests/test_permissions.py": "root that may not give up its rights has no permissions to test",
}
"""Test id (or its beginning) and the reason why it may be skipped in CI. A skip is a test nobody runs."""


# A run in the background of a script ignores Ctrl-C, one under nohup the end of its terminal, and so would every
# process the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options every session knows."""
    group = parser.getgroup("workspace")
    group.addoption("--slow", action="store_true", help="also the long runs: 50 repeats instead of 5")
    group.addoption(
        "--fail-on-skip",
        action="store_true",
        default=bool(os.environ.get("CI")),
        help="a skipped test fails the run (default where CI is set)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests out (deselected, not skipped) unless ``--slow`` is given."""
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session", autouse=True)
def _caches_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache folder out of it, also in the processes that tests start."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    with pytest.MonkeyPatch.context() as patch:
        # But the ImageJ that was fetched for the user is not fetched again for each of the tests.
        patch.setenv("M2_REPO", os.environ.get("M2_REPO") or str(cache / "openhcs" / "java" / "m2"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("OPENHCS_DISABLE_REGISTRY_CACHE", raising=False)
        yield


@pytest.fixture(scope="session")
def repeats(request: pytest.FixtureRequest) -> int:
    """How often a test of crashes or races repeats its case: 5, or 50 with ``--slow``."""
    return 50 if request.config.getoption("--slow") else 5


def _unexplained_skips(config: pytest.Config) -> Iterator[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    for report in reporter.stats.get("skipped", []) if reporter else []:
        if not report.nodeid.startswith(tuple(ALLOWED_SKIPS)):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            yield f"{report.nodeid}: {reason}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for a skip that nobody allowed."""
    if session.config.getoption("--fail-on-skip") and any(_unexplained_skips(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which skips failed the run."""
    if config.getoption("--fail-on-skip") and (skips := list(_unexplained_skips(config))):
        terminalreporter.section("skipped, and nobody said they may be")
        for line in skips:
            terminalreporter.line(line)
