from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from polystore._atomic import is_temporary
from polystore.errors import NotAFileError, NotAFolderError, UnsafePathError
from polystore.objects import LocalObjects
from polystore.testing import ObjectStoreTests

COUNTER = """
import sys
from polystore.objects import LocalObjects
store = LocalObjects(sys.argv[1])
number, times = int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
import json
def add(old):
    document = json.loads(old or b"[]")
    document.append([number, n])
    return json.dumps(document).encode()
for n in range(times):
    store.update("d/plate.json", add)
"""

WRITER = """
import itertools, json, sys
from polystore.objects import LocalObjects
store = LocalObjects(sys.argv[1])
print("ready", flush=True)
for n in itertools.count():
    store.update("a/b.json", lambda old: json.dumps([n] * 20_000).encode())
"""


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if is_temporary(path.name)]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], *, kill: bool = False) -> int:
    if kill:
        process.kill()
    process.communicate()
    return process.returncode


class TestLocal(ObjectStoreTests):
    def make_store(self) -> LocalObjects:
        return LocalObjects(self.folder / "root")


class TestDurable(ObjectStoreTests):
    def make_store(self) -> LocalObjects:
        return LocalObjects(self.folder, durable=True)


def test_nothing_but_the_keys_is_left(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    store.put("a", b"1")
    store.update("d/b", lambda old: b"2")
    store.swap("d/b", b"3", "other")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "d"]


def test_files_and_folders_do_not_mix(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    store.put("d/a", b"1")
    for call in (store.get, store.delete):
        with pytest.raises(NotAFileError):
            call("d")
    with pytest.raises(NotAFileError):
        store.put("d", b"")
    with pytest.raises(NotAFolderError):
        store.put("d/a/b", b"")
    with pytest.raises(NotAFolderError):
        store.scan("d/a")


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret").write_bytes(b"untouched")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    store = LocalObjects(root)
    for key in ("folder/secret", "folder/new", "file"):
        for call in (
            store.get,
            store.delete,
            lambda key: store.put(key, b""),
            lambda key: store.update(key, bytes),
        ):
            with pytest.raises(UnsafePathError, match="link"):
                call(key)
    assert list(store.keys()) == ["file"]
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"untouched"


def test_two_roots_and_a_link_have_one_lock(tmp_path: Path) -> None:
    """However a file is reached, changes of it follow each other."""
    inner, outer = LocalObjects(tmp_path / "d", timeout=0.05), LocalObjects(tmp_path, timeout=0.05)
    inner.put("a", b"0")
    (tmp_path / "link").symlink_to("d/a")

    def change(old: bytes | None) -> bytes:
        for store, key in ((outer, "d/a"), (outer, "link")):
            with pytest.raises(TimeoutError, match=str(os.getpid())):
                store.put(key, b"lost")
        return b"1"

    inner.update("a", change)
    outer.update("link", lambda old: (old or b"") + b"2")
    assert inner.get("a").data == b"12"


@pytest.mark.parametrize(
    "rounds", [3, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_eight_processes_lose_nothing(tmp_path: Path, rounds: int) -> None:
    for round_ in range(rounds):
        root = tmp_path / str(round_)
        workers = [start(COUNTER, root, number, 10) for number in range(8)]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        assert [finish(worker) for worker in workers] == [0] * 8
        document = json.loads(LocalObjects(root).get("d/plate.json").data)
        assert sorted(document) == [[number, n] for number in range(8) for n in range(10)]
        assert leftovers(root) == []


def test_a_killed_writer_leaves_old_or_new_and_no_partial_file(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    instants = random.Random(11)
    seen = set()
    for _ in range(200 if request.config.getoption("--slow") else 10):
        writer = start(WRITER, tmp_path)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=instants.uniform(0.0, 0.02))
        finish(writer, kill=True)
        code = (
            "import sys; from polystore.objects import LocalObjects; s = LocalObjects(sys.argv[1])\n"
            "s.update('a/b.json', lambda old: old or b'[]'); print(list(s.keys()))"
        )
        after = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        )
        assert after.stdout == "['a/b.json']\n"
        assert leftovers(tmp_path) == []
        document = json.loads((tmp_path / "a/b.json").read_bytes())
        if document:
            assert document == [document[0]] * 20_000
            seen.add(document[0])
    assert seen


def test_a_reader_sees_old_or_new(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    polls = 100_000 if request.config.getoption("--slow") else 2_000
    writer = start(WRITER.replace("20_000", "2_000"), tmp_path)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        store = LocalObjects(tmp_path)
        store.update("a/b.json", lambda old: old or b"[0]")
        versions = set()
        for _ in range(polls):
            document = json.loads(store.get("a/b.json").data)
            assert document == [document[0]] * 2_000 or document == [0]
            versions.add(document[0])
        assert len(versions) > 10
    finally:
        finish(writer, kill=True)
