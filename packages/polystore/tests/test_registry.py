from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystore.errors import BackendClashError, BackendLoadError, BackendNotFoundError, MissingExtraError
from polystore.registry import Registry

Install = Callable[..., None]

GROUP = "polystore.test_plugins"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put distributions, as an installer would, on the import path of this test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(distribution: str, entries: dict[str, str], modules: dict[str, str] | None = None) -> None:
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module, source in (modules or {}).items():
            (tmp_path / f"{module}.py").write_text(source)

    return put


def make(**options: Any) -> Registry[Any]:
    return Registry("plugin", group=GROUP, **options)


def test_listing_imports_nothing_and_get_imports_one(install: Install) -> None:
    modules = {"ps_one": "class One: pass\n", "ps_two": "class Outer:\n    class Two: pass\n"}
    install("first", {"one": "ps_one:One", "two": "ps_two:Outer.Two"}, modules)
    registry = make(builtins={"path": "os.path:join"})
    assert registry.names() == ("one", "path", "two")
    assert "one" in registry
    assert "three" not in registry
    assert not {"ps_one", "ps_two"} & sys.modules.keys()
    assert registry.get("two").__name__ == "Two"
    assert "ps_one" not in sys.modules
    assert registry.get("two") is registry.get("two")
    assert registry.get("path") is os.path.join
    assert registry.plugin("one").origin == "first 1.0"
    assert registry.plugin("path").origin == "built in"


def test_an_unknown_name_lists_the_known() -> None:
    registry = make(builtins={"disk": "os:sep", "memory": "os:sep"}, aliases={"ram": "memory"})
    with pytest.raises(
        BackendNotFoundError, match=r"unknown plugin 'dsk'.*known: disk, memory.*did you mean 'disk'"
    ):
        registry.get("dsk")
    assert registry.get("ram") == os.sep
    assert registry.names() == ("disk", "memory")
    assert "ram" in registry


def test_a_broken_plugin_harms_no_other(install: Install) -> None:
    modules = {
        "ps_raises": "raise RuntimeError('no licence')\n",
        "ps_fine": "Fine = 1\n",
        "ps_needs": "import no_such_x\n",
    }
    entries = {
        "raises": "ps_raises:X", "lacks": "ps_fine:X", "gone": "ps_nowhere:X", "needs": "ps_needs:X",
        "fine": "ps_fine:Fine",
    }  # fmt: skip
    install("second", entries, modules)
    registry = make()
    assert registry.names() == tuple(sorted(entries))
    assert registry.get("fine") == 1
    for name, reason in {
        "raises": "no licence",
        "lacks": "X",
        "gone": "ps_nowhere",
        "needs": "no_such_x",
    }.items():
        with pytest.raises(BackendLoadError, match=f"'{name}'.*second 1.0.*{reason}"):
            registry.get(name)


def test_two_distributions_with_one_name_are_both_named(install: Install) -> None:
    install("left", {"same": "ps_left:X", "only": "ps_left:X"}, {"ps_left": "X = 'left'\n"})
    install("right", {"same": "ps_right:X"}, {"ps_right": "X = 'right'\n"})
    registry = make()
    with pytest.raises(BackendClashError, match=r"(?s)(left.*right|right.*left)"):
        registry.get("same")
    assert registry.get("only") == "left"
    assert list(registry.clashes()) == ["same"]
    registry.register("same", "ps_right:X", replace=True)
    assert registry.get("same") == "right"


def test_one_distribution_seen_twice_is_no_clash(install: Install) -> None:
    install("again", {"same": "ps_again:X"}, {"ps_again": "X = 1\n"})
    install("again_editable", {"same": "ps_again:X"})
    assert make().get("same") == 1


def test_a_plugin_cannot_take_a_built_in_name_by_accident(install: Install) -> None:
    install("greedy", {"disk": "ps_greedy:X"}, {"ps_greedy": "X = 1\n"})
    registry = make(builtins={"disk": "os:sep"})
    assert registry.get("disk") == os.sep
    assert "greedy 1.0" in registry.clashes()["disk"]
    assert registry.names() == ("disk",)


def test_register_and_unregister() -> None:
    registry = make(builtins={"disk": "os:sep"})
    before = registry.version
    registry.register("mine", str)
    registry.register("mine", str)  # the same again is fine
    assert registry.get("mine") is str
    assert registry.names() == ("disk", "mine")
    assert registry.version > before
    with pytest.raises(BackendClashError, match=r"registered by this program.*replace=True"):
        registry.register("mine", int)
    with pytest.raises(BackendClashError, match="built in"):
        registry.register("disk", int)
    registry.register("disk", int, replace=True)
    assert registry.get("disk") is int
    registry.unregister("disk")
    assert registry.get("disk") == os.sep
    with pytest.raises(BackendNotFoundError):
        registry.unregister("disk")
    registry.register("late", "json:loads")
    assert registry.get("late").__name__ == "loads"


def test_a_missing_extra_is_the_command_that_installs_it(install: Install) -> None:
    install("third", {}, {"ps_extra": "import no_such_library\n"})
    registry = make(builtins={"zarr": "ps_extra:X", "other": "ps_extra:X"}, extras={"zarr": "zarr"})
    with pytest.raises(MissingExtraError, match=r"pip install 'polystore\[zarr\]'"):
        registry.get("zarr")
    with pytest.raises(BackendLoadError, match="no_such_library, which is not installed"):
        registry.get("other")


def test_a_new_plugin_is_seen_by_the_next_process(install: Install, tmp_path: Path) -> None:
    code = f"from polystore.registry import Registry; print(Registry('p', group={GROUP!r}).names())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def names() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        return done.stdout.strip()

    assert names() == "()"
    install("late", {"late": "ps_late:X"})
    assert names() == "('late',)"


def test_a_refresh_sees_what_was_installed_meanwhile(install: Install) -> None:
    registry = make(builtins={"path": "os.path:join"})
    assert registry.names() == ("path",)
    install("late", {"late": "ps_after:X"}, {"ps_after": "X = 1\n"})
    assert registry.names() == ("path",)
    version = registry.version
    registry.refresh()
    assert registry.version > version
    assert registry.names() == ("late", "path")
    assert registry.get("late") == 1


def test_threads_that_register_and_list_see_each_others_names() -> None:
    registry = make()
    barrier = threading.Barrier(8)
    lost: list[str] = []

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(200):
            name = f"{number}-{turn}"
            registry.register(name, number)
            if name not in registry.names() or registry.get(name) != number:
                lost.append(name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert len(registry.names()) == 1600


def test_threads_get_one_and_the_same(install: Install) -> None:
    install("slow", {"slow": "ps_slow:Slow"}, {"ps_slow": "class Slow: pass\n"})
    registry = make()
    barrier = threading.Barrier(8)
    found: list[Any] = []

    def ask() -> None:
        barrier.wait()
        registry.names()
        found.append(registry.get("slow"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_plugin_may_use_its_registry_while_it_is_imported(install: Install) -> None:
    source = "import polystore.registry\nNAMES = polystore.registry.shared.names()\n"
    install("self_using", {"me": "ps_me:NAMES"}, {"ps_me": source})
    import polystore.registry as module

    registry = make()
    module.shared = registry  # type: ignore[attr-defined]
    try:
        assert registry.get("me") == ("me",)
    finally:
        del module.shared  # type: ignore[attr-defined]


def test_a_fork_while_another_thread_looks_for_plugins_leaves_the_child_free() -> None:
    code = textwrap.dedent(
        """
        import os, threading
        from polystore.registry import Registry
        registry = Registry("p", group="none", builtins={"sep": "os:sep"})
        looking, go = threading.Event(), threading.Event()
        scan = registry._scan
        def slow():
            looking.set()
            go.wait()
            return scan()
        registry._scan = slow
        thread = threading.Thread(target=registry.names)
        thread.start()
        looking.wait()
        pid = os.fork()
        if pid == 0:
            registry._scan = scan
            registry.register("mine", str)
            fine = registry.names() == ("mine", "sep") and registry.get("sep") == os.sep
            os._exit(0 if fine else 1)
        _, status = os.waitpid(pid, 0)
        go.set()
        thread.join()
        raise SystemExit(os.waitstatus_to_exitcode(status))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == 0
