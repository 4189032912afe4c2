"""Worker processes, each an executor of its own.

One `ProcessPoolExecutor` with N workers loses all of its work when one worker is killed, and cannot address a certain
worker. N executors with one worker each lose one task, go on with a fresh worker, and let every worker be asked for its
final report.
"""

from __future__ import annotations

import inspect
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from openhcs_viewers.demo._errors import WorkerStartError
from openhcs_viewers.errors import UnguardedScriptError, ViewerError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)

UNGUARDED = 86
"""Exit code of a worker that was about to run its script a second time; 64 to 113 are free for such uses."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T, R]):
    """What became of one task: `value`, or the reason why there is none in `error`.

    Attributes
    ----------
    task, worker
        What was done, and the pid of the process that did it.
    value
        What the function returned; None when it failed.
    error
        Empty, or one line that says what happened.
    died
        Whether the worker process itself was lost, and with it everything it had not reported.
    """

    task: T
    worker: int
    value: R | None = None
    error: str = ""
    died: bool = False


@dataclass(slots=True)
class _Starting:
    executor: ProcessPoolExecutor
    hello: Future[int]
    process: BaseProcess | None


@dataclass(slots=True)
class _Worker:
    executor: ProcessPoolExecutor
    pid: int
    process: BaseProcess | None


class WorkerPool:
    """`workers` processes that run `initializer(*initargs)` first. A context manager; used from one thread.

    Raises
    ------
    UnguardedScriptError
        The script that started this has no ``if __name__ == "__main__"`` guard.
    WorkerStartError
        A worker ended before it could take a task, for another reason.
    """

    def __init__(
        self, workers: int, initializer: Callable[..., None], initargs: tuple[Any, ...] = ()
    ) -> None:
        refuse_second_copy()
        self._start = (initializer, initargs)
        self._workers: list[_Worker] = []
        try:
            # The first alone: if the script has no guard, one worker says so, not all of them.
            self._workers.append(self._greet(self._spawn()))
            for starting in [self._spawn() for _ in range(workers - 1)]:
                self._workers.append(self._greet(starting))
        except BaseException:
            self.close(kill=True)
            raise

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self.close(kill=kind is not None)

    @property
    def pids(self) -> tuple[int, ...]:
        """Pids of the workers alive."""
        return tuple(worker.pid for worker in self._workers)

    def run(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[Outcome[T, R]]:
        """Yield the outcome of ``function(task)`` of every task, as they finish, each task tried once.

        A task that raises fails alone. A worker that dies takes its task with it and is replaced.
        """
        waiting = deque(tasks)
        running: dict[Future[R], tuple[_Worker, T]] = {}
        idle = list(self._workers)
        while waiting or running:
            while waiting and idle:
                worker, task = idle.pop(), waiting.popleft()
                running[worker.executor.submit(function, task)] = (worker, task)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                worker, task = running.pop(future)
                outcome = _outcome(future, worker, task)
                if not outcome.died:
                    idle.append(worker)
                else:
                    self._workers.remove(worker)
                    worker.executor.shutdown(wait=False, cancel_futures=True)
                    if waiting or not self._workers:
                        worker = self._greet(self._spawn())
                        self._workers.append(worker)
                        idle.append(worker)
                yield outcome

    def each(self, function: Callable[[T], R], argument: T) -> list[Outcome[T, R]]:
        """Run ``function(argument)`` once in every worker alive, all at the same time."""
        futures = [(worker.executor.submit(function, argument), worker) for worker in self._workers]
        return [_outcome(future, worker, argument) for future, worker in futures]

    def close(self, *, kill: bool = False) -> None:
        """End the workers: after what they are doing, or at once with `kill`. Idempotent."""
        for worker in self._workers:
            if kill and worker.process is not None and worker.process.is_alive():
                worker.process.kill()
            worker.executor.shutdown(wait=True, cancel_futures=True)
        self._workers.clear()

    def _spawn(self) -> _Starting:
        # Spawned, not forked: a fork would copy the threads and sockets of a process that streams, halfway.
        context = multiprocessing.get_context("spawn")
        before = {child.pid for child in multiprocessing.active_children()}
        executor = ProcessPoolExecutor(1, context, initializer=_begin, initargs=self._start)
        hello = executor.submit(os.getpid)
        started = [child for child in multiprocessing.active_children() if child.pid not in before]
        return _Starting(executor, hello, started[0] if started else None)

    def _greet(self, starting: _Starting) -> _Worker:
        try:
            pid = starting.hello.result()
        except BrokenProcessPool:
            starting.executor.shutdown(wait=False, cancel_futures=True)
            raise _start_error(starting.process) from None
        return _Worker(starting.executor, pid, starting.process)


def refuse_second_copy() -> None:
    """End a worker that is importing the script which started it: going on would do the script's work again.

    The worker ends without a word; the process that started it raises `UnguardedScriptError`.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            raise SystemExit(UNGUARDED)
        frame = frame.f_back


def _begin(initializer: Callable[..., None], initargs: tuple[Any, ...] = ()) -> None:
    """First thing in a worker: leave Ctrl-C to the parent, end with the parent, then the caller's own start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), name="ends-with-parent", daemon=True).start()
    initializer(*initargs)


def _end_with(parent: BaseProcess) -> None:
    # A worker waits on a queue whose writing end it holds itself, so it would never notice that its parent is gone.
    parent.join()
    os._exit(1)


def _outcome(future: Future[R], worker: _Worker, task: T) -> Outcome[T, R]:
    error = future.exception()
    if error is None:
        return Outcome(task, worker.pid, future.result())
    if isinstance(error, BrokenProcessPool):
        return Outcome(task, worker.pid, error=f"worker {worker.pid} {_ending(worker.process)}", died=True)
    _log.error("task %s failed in worker %d", task, worker.pid, exc_info=error)
    return Outcome(task, worker.pid, error=f"{type(error).__name__}: {error}")


def _ending(process: BaseProcess | None) -> str:
    """How a process ended, in words."""
    code = _exit_code(process)
    if code is None:
        return "ended"
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _exit_code(process: BaseProcess | None) -> int | None:
    deadline = time.monotonic() + 5.0
    while process is not None and time.monotonic() < deadline:
        # The executor's own thread reaps it too; whichever comes second sees the code a moment later.
        process.join(0.05)
        if process.exitcode is not None:
            return process.exitcode
    return None


def _start_error(process: BaseProcess | None) -> ViewerError:
    if _exit_code(process) == UNGUARDED:
        script = getattr(sys.modules.get("__main__"), "__file__", "the script")
        return UnguardedScriptError(
            f"{script} starts worker processes outside a guard; each worker imports the script once more and would "
            'do all of its work again. Put what it does under the guard:\n\n    if __name__ == "__main__":\n'
            "        main()\n"
        )
    return WorkerStartError(
        f"a worker process {_ending(process)} before it could take a task; its own message, if any, stands above. "
        "Try --workers 1, and look for a lack of memory"
    )
