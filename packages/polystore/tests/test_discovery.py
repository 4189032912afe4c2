"""Entry points from the cache are those `importlib.metadata` finds, after anything that may have happened."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polystore import _discovery, _scan
from polystore._discovery import Record, cache_file, find, read

GROUP = "polystore.test_discovery"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, in which also what has just changed is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(_scan, "SETTLED", -3600.0)
    return tmp_path / "xdg" / "openhcs"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The folders whose metadata was read."""
    seen: list[str] = []
    scan = _scan.scan

    def counted(folder: str, *rest: Any) -> Any:
        seen.append(folder)
        return scan(folder, *rest)

    monkeypatch.setattr(_scan, "scan", counted)
    return seen  # type: ignore[return-value]


def install(
    site: Path, name: str, entries: dict[str, str] | None, version: str = "1.0", installer: str = ""
) -> Path:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: other\n"
    )
    if entries is not None:
        lines = [f"[{GROUP}]", *(f"{key} = {value}" for key, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    if installer:
        (info / "INSTALLER").write_text(installer)
    return info


def uninstall(info: Path) -> None:
    for path in info.iterdir():
        path.unlink()
    info.rmdir()


def names() -> list[str]:
    return [name for name, *_ in find(GROUP)]


def test_all_that_is_installed_here_is_found_as_importlib_finds_it(cache: Path) -> None:
    for group in sorted(entry_points().groups - _scan.SCRIPTS):
        theirs = {(entry.name, entry.value.partition("[")[0].strip()) for entry in entry_points(group=group)}
        assert {(name, target) for name, target, *_ in find(group)} == theirs
        assert {(name, target) for name, target, *_ in find(group, enable_cache=False)} == theirs


def test_the_cache_is_used_and_is_for_this_user_alone(cache: Path, site: Path, scans: list[str]) -> None:
    install(site, "first-one", {"one": "ps_one:One", "two": "ps_two : Two [fast, big]"})
    assert find(GROUP) == [
        ("one", "ps_one:One", "first-one 1.0", ""),
        ("two", "ps_two:Two", "first-one 1.0", "first-one[fast,big]"),
    ]
    assert str(site) in scans
    scans.clear()
    assert names() == ["one", "two"]
    assert scans == []
    path = Path(cache_file())
    assert path.parent == cache
    assert path.stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700
    assert [child.name for child in cache.iterdir()] == [path.name]


def test_a_change_makes_only_its_own_folder_read_again(cache: Path, site: Path, scans: list[str]) -> None:
    names()
    scans.clear()
    install(site, "late", {"late": "ps_late:X"})
    assert names() == ["late"]
    assert scans == [str(site)]


def test_what_has_just_changed_is_not_kept(
    cache: Path, site: Path, scans: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of a file system may not tell a second change from the first."""
    monkeypatch.setattr(_scan, "SETTLED", 2.0)
    info = install(site, "quick", {"one": "ps:X"})
    assert names() == ["one"]
    assert str(site) not in read()
    scans.clear()
    (info / "entry_points.txt").write_text(f"[{GROUP}]\ntwo = ps:X\n")
    assert names() == ["two"]
    assert scans == [str(site)]


def test_an_edit_in_place_is_seen_also_with_its_old_time(cache: Path, site: Path) -> None:
    path = install(site, "edited", {"one": "ps:X"}) / "entry_points.txt"
    assert names() == ["one"]
    before = path.stat()
    path.write_text(path.read_text().replace("one", "two"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert names() == ["two"]
    path.unlink()
    assert names() == []
    path.write_text(f"[{GROUP}]\nthree = ps:X\n")
    assert names() == ["three"]


@pytest.mark.parametrize("installer", ["", "pip"])
def test_entry_points_taken_from_a_distribution_and_given_back_are_seen(
    cache: Path, site: Path, installer: str
) -> None:
    path = install(site, "edited", {"one": "ps:X"}, installer=installer) / "entry_points.txt"
    for _ in range(2):
        assert names() == ["one"]
        path.rename(site / "kept")
        assert names() == []
        (site / "kept").rename(path)


def test_entry_points_given_to_a_distribution_without_any_are_seen(cache: Path, site: Path) -> None:
    info = install(site, "made_by_hand", None)
    assert names() == []
    (info / "entry_points.txt").write_text(f"[{GROUP}]\none = ps:X\n")
    assert names() == ["one"]


def test_a_distribution_its_installer_has_finished_is_not_looked_at_each_time(
    cache: Path, site: Path
) -> None:
    install(site, "installed", None, installer="pip")
    install(site, "made_by_hand", None)
    install(site, "plugin", {"one": "ps:X"}, installer="pip")
    scripts = install(site, "scripts", {}, installer="pip") / "entry_points.txt"
    scripts.write_text("[console_scripts]\nrun = ps:main\n")
    names()
    record = read()[str(site)]
    assert record.finished == ["installed-1.0.dist-info", "scripts-1.0.dist-info"]
    assert record.silent == ["made_by_hand-1.0.dist-info"]
    assert record.declaring == ["plugin-1.0.dist-info"]


def test_a_metadata_folder_that_was_changed_after_its_installer_is_looked_at(cache: Path, site: Path) -> None:
    path = install(site, "edited", {}, installer="pip") / "entry_points.txt"
    os.utime(path.parent / "INSTALLER", (1, 1))
    assert names() == []
    path.write_text(f"[{GROUP}]\none = ps:X\n")
    assert names() == ["one"]


def test_what_declared_a_plugin_once_stays_looked_at(
    cache: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when other folders were written down while it had just changed."""
    path = install(site, "edited", {"one": "ps:X"}, installer="pip") / "entry_points.txt"
    assert names() == ["one"]
    scan = _scan.scan

    def just_changed(folder: str, *rest: Any) -> Any:
        record, newest = scan(folder, *rest)
        return record, float("inf") if folder == str(site) else newest

    monkeypatch.setattr(_scan, "scan", just_changed)
    monkeypatch.syspath_prepend(str(tmp_path))
    path.write_text("")
    assert names() == []
    assert str(tmp_path) in read()
    monkeypatch.setattr(_scan, "scan", scan)
    assert names() == []
    path.write_text(f"[{GROUP}]\ntwo = ps:X\n")
    assert names() == ["two"]


def test_without_mtimes_only_the_folders_are_compared(cache: Path, site: Path) -> None:
    path = install(site, "edited", {"one": "ps:X"}) / "entry_points.txt"
    assert names() == ["one"]
    path.write_text(f"[{GROUP}]\ntwo = ps:X\n")
    assert [name for name, *_ in find(GROUP, check_mtimes=False)] == ["one"]
    assert names() == ["two"]
    install(site, "another", {"three": "ps:X"})
    assert sorted(name for name, *_ in find(GROUP, check_mtimes=False)) == ["three", "two"]


def test_the_first_of_two_on_the_path_counts(
    cache: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "Same.Name", {"old": "ps:X"}, "1.0")
    install(site, "other", {"other": "ps:X"})
    above = tmp_path / "above"
    above.mkdir()
    monkeypatch.syspath_prepend(str(above))
    install(above, "same_name", None, "2.0", installer="pip")
    for _ in range(2):
        assert names() == ["other"]
    uninstall(above / "same_name-2.0.dist-info")
    install(above, "same_name", {"new": "ps:X"}, "2.0")
    for _ in range(2):
        assert names() == ["new", "other"]


def test_of_two_versions_in_one_folder_the_newer_counts(cache: Path, site: Path) -> None:
    install(site, "twice", {"new": "ps:X"}, "10.0")
    install(site, "twice", {"old": "ps:X"}, "9.0")
    newer = site / "twice-10.0.dist-info" / "entry_points.txt"
    newer.write_text(newer.read_text())
    for _ in range(2):
        assert names() == ["new"]


def test_eggs_and_zip_files_and_relative_paths(
    cache: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    develop = site / "develop.egg-info"
    develop.mkdir()
    (develop / "PKG-INFO").write_text("Name: develop\nVersion: 3\n")
    (develop / "entry_points.txt").write_text(f"[{GROUP}]\ndeveloped = ps:X\n")
    (site / "old_kind-1.0.egg-info").write_text("Name: old_kind\n")
    egg = tmp_path / "whole-1.0-py3.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Name: whole\nVersion: 1.0\n")
    (egg / "EGG-INFO" / "entry_points.txt").write_text(f"[{GROUP}]\negg = ps:X\n")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("packed-1.0.dist-info/METADATA", "Name: packed\nVersion: 1.0\n")
        archive.writestr("packed-1.0.dist-info/entry_points.txt", f"[{GROUP}]\nzipped = ps:X\n")
    monkeypatch.syspath_prepend(str(egg))
    monkeypatch.syspath_prepend(str(packed))
    monkeypatch.chdir(tmp_path)
    sys.path[:] = [entry if entry != str(site) else "site" for entry in sys.path]
    for _ in range(2):
        assert names() == ["zipped", "egg", "developed"]
        assert {entry.name for entry in entry_points(group=GROUP)} == {"zipped", "egg", "developed"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(5000)),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"ps_right", b"ps_wrong")),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.chmod(0o666),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "noise", "cut", "one name", "longer", "writable by others", "gone", "a folder"],
)
def test_a_damaged_cache_is_made_anew(
    cache: Path, site: Path, spoil: Callable[[Path], object], scans: list[str]
) -> None:
    install(site, "some", {"one": "ps_right:X"})
    names()
    spoil(Path(cache_file()))
    scans.clear()
    assert find(GROUP)[0][1] == "ps_right:X"
    assert str(site) in scans
    scans.clear()
    if not Path(cache_file()).is_dir():
        names()
        assert scans == []


def test_a_whole_file_that_is_not_ours_is_no_cache(cache: Path, site: Path) -> None:
    install(site, "some", {"one": "ps:X"})
    names()
    body = b"\n\n".join([_discovery.interpreter().encode(), b"/a\tb"])
    Path(cache_file()).write_bytes(b"%d\n%s" % (_discovery.digest(body), body))
    assert names() == ["one"]


def test_another_interpreter_has_a_file_of_its_own(
    cache: Path, site: Path, monkeypatch: pytest.MonkeyPatch, scans: list[str]
) -> None:
    names()
    first = cache_file()
    monkeypatch.setattr(sys, "version", "3.99.0 (another)")
    assert cache_file() != first
    scans.clear()
    names()
    assert str(site) in scans
    os.replace(first, cache_file())  # a name that happens to be the same
    assert read() == {}


def test_an_old_cache_and_one_from_the_future_are_not_believed(
    cache: Path, site: Path, monkeypatch: pytest.MonkeyPatch, scans: list[str]
) -> None:
    names()
    now = time.time()
    for later in (7 * 86400 + 5, -5):
        scans.clear()
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        names()
        assert str(site) in scans
        names()  # what was found at that time, at the present time
    monkeypatch.setattr(time, "time", lambda: now + 3 * 86400)
    names()
    scans.clear()
    monkeypatch.setattr(time, "time", lambda: now + 5 * 86400)
    names()
    assert scans == []
    monkeypatch.setenv("POLYSTORE_REGISTRY_CACHE_DAYS", "1")
    names()
    assert str(site) in scans
    monkeypatch.setenv("POLYSTORE_REGISTRY_CACHE_DAYS", "no number")
    scans.clear()
    names()
    assert scans == []


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_without_the_cache_nothing_is_read_or_written(
    cache: Path, site: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    install(site, "some", {"one": "ps:X"})
    if how == "environment":
        monkeypatch.setenv("OPENHCS_DISABLE_REGISTRY_CACHE", "1")
    assert [name for name, *_ in find(GROUP, enable_cache=how == "environment")] == ["one"]
    assert not cache.exists()


def test_a_cache_folder_that_cannot_be_made_is_harmless(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    install(site, "some", {"one": "ps:X"})
    assert names() == ["one"]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # nobody knows the home folder
    assert cache_file() == ""
    assert names() == ["one"]


def test_a_disk_that_is_full_leaves_nothing_and_is_harmless(
    cache: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    install(site, "some", {"one": "ps:X"})
    assert names() == ["one"]
    assert list(cache.iterdir()) == []


def test_what_a_killed_writer_left_is_removed(cache: Path, site: Path) -> None:
    cache.mkdir(parents=True)
    left, present = cache / f"a{_scan.TEMPORARY}", cache / f"b{_scan.TEMPORARY}"
    for path in (left, present):
        path.write_text("")
    os.utime(left, (0, 0))
    names()
    assert not left.exists()
    assert present.exists()


def test_a_broken_distribution_harms_no_other(cache: Path, site: Path) -> None:
    install(site, "fine", {"fine": "ps:X"})
    (install(site, "bytes", {}) / "entry_points.txt").write_bytes(
        b"[" + GROUP.encode() + b"]\n\xff\xfe = ps:X\n"
    )
    (site / "empty-1.0.dist-info").mkdir()
    folder = install(site, "folder", None)
    (folder / "entry_points.txt").mkdir()
    (site / "dangling-1.0.dist-info").symlink_to(site / "nowhere")
    for _ in range(2):
        assert "fine" in names()
        assert len(names()) == 2


def test_odd_entries_of_the_import_path_are_passed_over(
    cache: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "some", {"one": "ps:X"})
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    odd: list[Any] = ["", "relative", b"/bytes", tmp_path, None, "http://a/b", "a\0b", *sys.path]
    monkeypatch.setattr(sys, "path", odd)
    for _ in range(2):
        assert names() == ["one"]


def test_a_folder_whose_name_the_file_cannot_hold_is_read_each_time(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scans: list[str]
) -> None:
    folder = tmp_path / "two\nlines"
    folder.mkdir()
    install(folder, "some", {"one": "ps:X"})
    monkeypatch.syspath_prepend(str(folder))
    for times in (1, 2):
        assert names() == ["one"]
        assert scans.count(str(folder)) == times


def test_an_importer_with_its_own_idea_is_asked(
    cache: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen:
        def find_spec(self, *_: object) -> None:
            return None

        def find_distributions(self, *_: object) -> list[Any]:
            return []

    install(site, "some", {"one": "ps:X [more]"})
    monkeypatch.setattr(sys, "meta_path", [Frozen(), *sys.meta_path])
    assert find(GROUP) == [("one", "ps:X", "some 1.0", "some[more]")]
    assert not cache.exists()


@given(st.lists(st.text(alphabet="[]=# ab:\t.", max_size=12), max_size=6))
def test_a_file_is_read_as_importlib_reads_it(lines: list[str]) -> None:
    from importlib.metadata import EntryPoints

    heads = ("[", "#")  # importlib takes no other line without an equals sign
    text = "\n".join(line for line in lines if "=" in line or line.strip().startswith(heads))
    if any(
        "=" not in line and not line.strip().endswith("]") for line in text.splitlines() if line[:1] != "#"
    ):
        return
    theirs = EntryPoints._from_text_for(text, None)  # type: ignore[attr-defined]
    assert list(_scan.parse(text)) == [(entry.group, entry.name, entry.value) for entry in theirs]


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record("/a", "1", 2, "3", ["b"], ["c", "d"], ["e"], "\ng\tn\tt\to\t\tb")
    again = Record.parse(record.text)
    assert [getattr(again, name) for name in Record.__slots__] == [
        getattr(record, name) for name in Record.__slots__
    ]
    assert again.of_group("g") == ["n", "t", "o", "", "b"]
    assert again.of_group("other") == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["install", "upgrade", "edit", "uninstall", "strip", "list"]),
        st.sampled_from(["alpha", "beta"]),
        st.sets(st.sampled_from("abc")),
        st.booleans(),
    ),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_changes_is_right_at_the_next_look(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, set[str], bool]]
) -> None:
    folder = tmp_path_factory.mktemp("sequence")
    site = folder / "site"
    site.mkdir()
    installed: dict[str, tuple[int, Path]] = {}
    declares: dict[Path, bool] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "xdg"))
        patch.setattr(_scan, "SETTLED", 0.02)  # this file system's clock ticks every 0.01 s
        patch.setattr(sys, "path", [*sys.path, str(site)])
        for what, name, keys, by_pip in steps:
            version, info = installed.get(name, (0, site))
            entries = {key: f"{name}:{key}" for key in sorted(keys)}
            if what in ("install", "upgrade"):
                if name in installed:
                    uninstall(info)
                version += what == "upgrade"
                made = install(site, name, entries or None, f"{version}.0", "pip" if by_pip else "")
                installed[name] = version, made
                declares[made] = bool(entries)
            elif what == "edit" and name in installed:
                lines = [f"[{GROUP}]", *(f"{key} = {value}" for key, value in entries.items())]
                if declares[info] or not (info / "INSTALLER").exists():  # see docs/registry.md
                    declares[info] = bool(entries)
                    (info / "entry_points.txt").write_text("\n".join(lines))
            elif what == "strip" and name in installed:
                (info / "entry_points.txt").unlink(missing_ok=True)
                declares[info] = False
            elif what == "uninstall" and name in installed:
                uninstall(installed.pop(name)[1])
            importlib.invalidate_caches()  # importlib.metadata keeps a folder's names for a tick of the clock
            theirs = {(entry.name, entry.value) for entry in entry_points(group=GROUP)}
            assert {(key, target) for key, target, *_ in find(GROUP)} == theirs


CODE = f"""
import json, sys
from polystore.registry import Registry
registry = Registry("p", group={GROUP!r})
print(json.dumps(registry.names()))
"""


def listed(site: Path) -> list[str]:
    """The names a fresh process lists."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment, cwd=site
    )
    return list(json.loads(done.stdout))


def test_the_next_process_is_always_right(tmp_path: Path) -> None:
    """Two changes within one tick of the clock included: no step waits for the one before to settle."""
    site = tmp_path / "site"
    site.mkdir()
    assert listed(site) == []
    info = install(site, "plugin", {"one": "ps:X"})
    assert listed(site) == ["one"]
    (info / "entry_points.txt").write_text(f"[{GROUP}]\ntwo = ps:X\n")
    assert listed(site) == ["two"]
    uninstall(info)
    install(site, "plugin", {"three": "ps:X"}, "1.1")
    assert listed(site) == ["three"]
    uninstall(site / "plugin-1.1.dist-info")
    assert listed(site) == []


def test_a_listing_imports_nothing_but_this_package(cache: Path) -> None:
    code = textwrap.dedent(
        """
        import os, sys
        before = set(sys.modules)
        import polystore
        polystore.available_backends()
        print(*sorted(set(sys.modules) - before))
        """
    )
    for _ in range(2):  # also when the cache is made
        done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env={
            **os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True)  # fmt: skip
        loaded = set(done.stdout.split()) - {"__future__", "polystore._scan"}
        assert loaded == {"polystore", "polystore._discovery", "polystore.backends", "polystore.registry"}


def test_eight_processes_at_once_leave_a_whole_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    site = tmp_path / "site"
    site.mkdir()
    install(site, "plugin", {"one": "ps:X"})
    environment = {**os.environ, "PYTHONPATH": str(site)}
    running = [
        subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, env=environment, cwd=site)
        for _ in range(8)
    ]
    assert [json.loads(process.communicate()[0]) for process in running] == [["one"]] * 8
    (left,) = (tmp_path / "xdg" / "openhcs").iterdir()
    assert read(str(left))
