from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from polystore._filelock import file_lock, host_name, lock_path
from polystore.errors import BusyError, StorageError

HOLDER = """
import sys
from polystore._filelock import file_lock
with file_lock(sys.argv[1], timeout=10):
    print("held", flush=True)
    sys.stdin.readline()
"""


def hold(path: Path, code: str = HOLDER) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_error_names_the_holder(tmp_path: Path) -> None:
    target = tmp_path / "plate.json"
    holder = hold(target)
    try:
        with (
            pytest.raises(
                BusyError, match=rf"plate\.json is held by process {holder.pid} on {host_name()}"
            ) as caught,
            file_lock(str(target), timeout=0.05),
        ):
            pass
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, StorageError)
    finally:
        holder.communicate("\n")
    with file_lock(str(target), timeout=0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a"
    holder = hold(target)
    holder.kill()
    holder.communicate()
    assert Path(lock_path(str(target))).exists()
    with file_lock(str(target), timeout=0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_child_forked_by_a_killed_holder_does_not_hold_it_either(tmp_path: Path) -> None:
    """A worker of a pool outlives its parent; the lock does not."""
    if not hasattr(os, "fork"):
        return
    target = tmp_path / "a"
    code = """
import os, sys, threading, time
from polystore._filelock import file_lock
with file_lock(sys.argv[1], timeout=10):
    if os.fork() == 0:
        sys.stdin.readline()
        os._exit(0)
    print("held", flush=True)
    os.kill(os.getpid(), 9)
"""
    holder = hold(target, code)
    assert holder.wait() == -9  # its child lives, and may not have begun to run
    try:
        with file_lock(str(target), timeout=10):
            pass
    finally:
        holder.communicate("\n")


def test_a_child_that_ends_its_block_does_not_take_the_parents_lock_away(tmp_path: Path) -> None:
    if not hasattr(os, "fork"):
        return
    target = tmp_path / "a"
    code = """
import os, sys
from polystore._filelock import file_lock
with file_lock(sys.argv[1], timeout=10):
    child = os.fork()
if child == 0:
    os._exit(0)
"""
    held = HOLDER.replace('    print("held"', '    child = os.fork()\n    if child:\n        print("held"', 1)
    held = held.replace(
        "    sys.stdin.readline()\n",
        "    if child:\n        os.waitpid(child, 0)\n        sys.stdin.readline()\n",
    ).replace("import sys", "import os, sys")
    holder = hold(target, held)
    try:
        with pytest.raises(BusyError), file_lock(str(target), timeout=0.05):
            pass
    finally:
        holder.communicate("\n")
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == 0


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    target = str(tmp_path / "a")
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with file_lock(target, timeout=30):
                inside += 1
                most = max(most, inside)
                os.stat(tmp_path)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_can_lock_while_threads_do(tmp_path: Path) -> None:
    """No lock of this module is held in a child by a thread that does not exist there."""
    if not hasattr(os, "fork"):
        return
    code = """
import os, sys, threading
from polystore._filelock import file_lock
def work():
    while not done.is_set():
        with file_lock(sys.argv[1], timeout=30):
            pass
done = threading.Event()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
codes = []
for _ in range(50):
    child = os.fork()
    if child == 0:
        with file_lock(sys.argv[1], timeout=30):
            os._exit(0)
    codes.append(os.waitpid(child, 0)[1])
done.set()
for thread in threads: thread.join()
sys.exit(any(codes))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, str(tmp_path / "a")],
        timeout=60,
        check=False,
    )
    assert done.returncode == 0


def test_descriptors_do_not_grow(tmp_path: Path) -> None:
    if not os.path.isdir("/proc/self/fd"):
        return
    before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        target = str(tmp_path / str(number % 3))
        with file_lock(target, timeout=1), pytest.raises(BusyError), file_lock(target, timeout=0):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    Path(lock_path(str(tmp_path / "a"))).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), file_lock(str(tmp_path / "a"), timeout=0):
        pass
    assert victim.read_text() == "untouched"


def test_a_long_name_has_a_lock_too(tmp_path: Path) -> None:
    target = str(tmp_path / ("x" * 255))
    with file_lock(target, timeout=0):
        assert len(os.path.basename(lock_path(target))) <= 255
        with pytest.raises(BusyError), file_lock(target, timeout=0):
            pass


def test_the_deadline_is_kept(tmp_path: Path) -> None:
    target = str(tmp_path / "a")
    with file_lock(target, timeout=0):
        before = time.monotonic()
        with pytest.raises(BusyError), file_lock(target, timeout=0.2):
            pass
        assert time.monotonic() - before >= 0.2
