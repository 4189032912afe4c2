"""Worker processes: one death costs one task, and a script without a guard is told so."""

from __future__ import annotations

import math
import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from openhcs_viewers.demo._errors import WorkerStartError
from openhcs_viewers.demo._pool import WorkerPool

# Tasks are calls of the standard library: a worker cannot import this file.
KILLED = partial(signal.raise_signal, signal.SIGKILL)
REFUSED = partial(math.sqrt, -1)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_failure_costs_one_task(workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tasks = [partial(pow, 2, 3), KILLED, partial(pow, 2, 4), REFUSED, os.getcwd, partial(pow, 2, 5)]
    with WorkerPool(workers, os.chdir, (tmp_path,)) as pool:
        outcomes = {id(outcome.task): outcome for outcome in pool.run(operator.call, tasks)}
    told = [outcomes[id(task)] for task in tasks]
    assert [outcome.value for outcome in told] == [8, None, 16, None, str(tmp_path), 32]
    assert [outcome.died for outcome in told] == [False, True, False, False, False, False]
    assert told[1].error == f"worker {told[1].worker} was killed by SIGKILL"
    assert told[3].error == "ValueError: math domain error"
    assert "failed in worker" in caplog.text


def test_every_worker_is_asked_once() -> None:
    with WorkerPool(3, abs, (0,)) as pool:
        pids = pool.pids
        assert len(set(pids)) == 3
        outcomes = pool.each(operator.call, os.getpid)
        assert sorted(outcome.value for outcome in outcomes) == sorted(pids)


def test_all_tasks_fail_and_still_each_is_told() -> None:
    with WorkerPool(2, abs, (0,)) as pool:
        outcomes = list(pool.run(operator.call, [KILLED, KILLED, KILLED]))
        assert [outcome.died for outcome in outcomes] == [True] * 3
        assert len({outcome.worker for outcome in outcomes}) == 3


def test_closing_ends_the_workers() -> None:
    with WorkerPool(2, abs, (0,)) as pool:
        pids = pool.pids
    assert not any(alive(pid) for pid in pids)


def test_an_error_ends_the_workers_at_once() -> None:
    pids: list[int] = []

    def interrupted() -> None:
        with WorkerPool(2, abs, (0,)) as pool:
            pids.extend(pool.pids)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


def test_a_worker_that_cannot_start_is_an_error() -> None:
    with pytest.raises(WorkerStartError, match="ended with exit code 3 before it could take a task"):
        WorkerPool(2, os._exit, (3,))


SCRIPT = """
from openhcs_viewers.demo._pool import WorkerPool
print("the script's own work", flush=True)
{head}
{indent}with WorkerPool(2, print, ("hello",)) as pool:
{indent}    print([outcome.value for outcome in pool.run(abs, [-1, -2])])
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_an_unguarded_script_is_told_to_add_the_guard(tmp_path: Path, guarded: bool) -> None:
    script = tmp_path / "script.py"
    head = 'if __name__ == "__main__":' if guarded else ""
    script.write_text(textwrap.dedent(SCRIPT).format(head=head, indent="    " if guarded else ""))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    if guarded:
        assert done.returncode == 0, done.stderr
        assert sorted(done.stdout.splitlines()[-1]) == sorted("[1, 2]")
    else:
        assert done.returncode == 1
        last = done.stderr.strip().rpartition("UnguardedScriptError: ")[2]
        assert str(script) in last
        assert 'if __name__ == "__main__":' in last
        assert done.stderr.count("Traceback") == 1  # the worker itself is silent
        assert (
            done.stdout.count("the script's own work") == 2
        )  # once, and once by the one worker that was tried


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "from openhcs_viewers.demo._pool import WorkerPool\nimport sys, time\n"
        "if __name__ == '__main__':\n"
        "    with WorkerPool(2, len, ('',)) as pool:\n"
        "        print(*pool.pids, flush=True)\n"
        "        sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
        parent.wait(10)
    deadline = time.monotonic() + 5.0
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"workers {pids} outlive their parent"
        os.sched_yield()


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
