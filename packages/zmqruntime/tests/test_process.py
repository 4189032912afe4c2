"""Processes: identity, child and detached, ended by identity only; guarded commands."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zmqruntime import _identity, process
from zmqruntime.errors import NotOursError, ProcessError, ProcessStartError, RequestTimeout
from zmqruntime.lifeline import LIFELINE_VARIABLE, PARENT_VARIABLE, Lifeline, watch_lifeline
from zmqruntime.process import GuardedProcess, ServerProcess, process_start_time, same_process
from zmqruntime.testing import wait_until

SLEEPER = "import signal; signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
)
CHILD = """
import os, signal, sys
from zmqruntime.process import watch_lifeline
watch_lifeline(lambda: os.kill(os.getpid(), signal.SIGTERM))
print("up", flush=True)
signal.pause()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def state(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone"
    return text[text.rindex(")") + 2]


@pytest.fixture
def start() -> Iterator[Callable[..., ServerProcess]]:
    """Spawn processes that are gone after the test."""
    started: list[ServerProcess] = []

    def spawn(argv: list[str], *, detached: bool = True, **options: object) -> ServerProcess:
        started.append(ServerProcess.spawn(argv, detached=detached, **options))  # type: ignore[arg-type]
        return started[-1]

    yield spawn
    for one in started:
        one.stop(0.2)


@pytest.fixture
def orphans() -> Iterator[list[int]]:
    """Pids that the test makes outlive their parents; killed afterwards when they still live."""
    pids: list[int] = []
    found: list[tuple[int, int | None]] = []
    yield pids
    found = [(pid, process_start_time(pid)) for pid in pids]
    for pid, started in found:
        if started is not None:
            _identity.send_signal(pid, started, signal.SIGKILL)


class Parent:
    """A process that runs `code`, and says some pids on its standard output; to be killed."""

    def __init__(self, code: str, tmp_path: Path, *arguments: str) -> None:
        script = tmp_path / f"parent-{time.monotonic_ns()}.py"
        script.write_text(textwrap.dedent(code))
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True
        )

    def read_pids(self) -> list[int]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return [int(word) for word in line.split()]

    def kill(self) -> float:
        self.process.kill()
        at = time.monotonic()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return at


# --------------------------------------------------------------------------- identity


def test_identity_is_this_process() -> None:
    started = process_start_time(os.getpid())
    assert started is not None
    assert same_process(os.getpid(), started)
    assert not same_process(os.getpid(), started + 1)


def test_identity_agrees_with_the_portable_way() -> None:
    import psutil

    ticks = process_start_time(os.getpid())
    assert ticks is not None
    elsewhere = _identity._start_time_elsewhere(os.getpid())
    assert elsewhere is not None
    seconds = psutil.boot_time() + ticks / os.sysconf("SC_CLK_TCK")
    assert abs(elsewhere / 1000 - seconds) < 2


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_no_process(pid: int) -> None:
    assert process_start_time(pid) is None
    assert not same_process(pid, 1)


def test_name_with_brackets_and_blanks(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    program = tmp_path / "a) R 1 2 (b"
    program.symlink_to(sys.executable)
    script = f"open('/proc/self/comm', 'w').write('a) R 1 (b'); {STUBBORN}"
    one = start([str(program), "-c", script], log=tmp_path / "log")
    wait_until(lambda: "up" in (tmp_path / "log").read_text())
    assert ") R 1 (" in Path(f"/proc/{one.pid}/comm").read_text()
    assert process_start_time(one.pid) == one.start_time


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(python("pass"))
    wait_until(lambda: state(child.pid) == "Z")
    assert process_start_time(child.pid) is None
    child.wait()


# --------------------------------------------------------------------------- spawn


def test_detached_survives_its_parents_death(tmp_path: Path, orphans: list[int]) -> None:
    parent = Parent(
        """
        import sys, signal
        from zmqruntime.process import ServerProcess
        one = ServerProcess.spawn([sys.executable, "-c", "import signal; signal.pause()"], detached=True)
        print(one.pid, flush=True)
        signal.pause()
        """,
        tmp_path,
    )
    (pid,) = parent.read_pids()
    orphans.append(pid)
    started = process_start_time(pid)
    assert started is not None
    assert os.getsid(pid) == pid, "it has its parent's terminal"
    parent.kill()
    assert not _identity.wait_for_end(pid, started, 0.5)
    assert same_process(pid, started)
    ServerProcess.attach(pid, started).stop()


@pytest.mark.parametrize("detached", [True, False])
def test_a_terminal_that_closes_is_survived(tmp_path: Path, orphans: list[int], detached: bool) -> None:
    """The terminal takes its session along; a detached process is not in it, a child is ended by its lifeline."""
    master, slave = os.openpty()
    script = tmp_path / "in_terminal.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import fcntl, signal, sys, termios
            from zmqruntime.process import ServerProcess
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            one = ServerProcess.spawn([sys.executable, "-c", {CHILD!r}], detached={detached}, log=sys.argv[1])
            open(sys.argv[2], "w").write(f"{{one.pid}}\\n")
            signal.pause()
            """
        )
    )
    log, told = tmp_path / "log", tmp_path / "pid"
    shell = subprocess.Popen(
        [sys.executable, str(script), str(log), str(told)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    pid = int(wait_until(lambda: told.exists() and told.read_text().endswith("\n") and told.read_text(), 20))
    orphans.append(pid)
    started = process_start_time(pid) or 0
    wait_until(lambda: log.read_text() == "up\n", 20)
    os.close(master)
    assert shell.wait(10) == -signal.SIGHUP
    assert _identity.wait_for_end(pid, started, 0.5 if detached else 5) is not detached


def test_output_goes_to_a_private_log(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    log = tmp_path / "logs" / "server.log"
    log.parent.mkdir()
    log.write_text("before\n")
    log.chmod(0o644)
    code = "import sys; print('out'); print('err', file=sys.stderr); print(repr(sys.stdin.read()))"
    one = start(python(code), log=log)
    assert one.wait(10)
    assert set(log.read_text().split()) == {"before", "out", "err", "''"}
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert one.returncode == 0


def test_environment_is_changed_not_replaced(
    tmp_path: Path, start: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZR_KEPT", "kept")
    monkeypatch.setenv("ZR_TAKEN", "taken")
    log = tmp_path / "log"
    code = "import os; print(*map(os.environ.get, ('ZR_KEPT', 'ZR_TAKEN', 'ZR_NEW')), os.getcwd())"
    one = start(python(code), env={"ZR_NEW": "new", "ZR_TAKEN": None}, log=log, cwd=tmp_path)
    assert one.wait(10)
    assert log.read_text().split() == ["kept", "None", "new", str(tmp_path)]


def test_a_dead_detached_process_leaves_no_zombie(start: Callable[..., ServerProcess]) -> None:
    one = start(python("raise SystemExit(3)"))
    assert one.wait(10)
    wait_until(lambda: state(one.pid) == "gone")
    assert one.returncode == 3
    assert not one.is_alive()
    assert one.stop() == "gone"


def test_handles_are_forgotten_without_a_warning() -> None:
    one = ServerProcess.spawn(python(SLEEPER), detached=True)
    pid, started = one.pid, one.start_time
    del one
    gc.collect()  # a ResourceWarning would be an error here
    assert same_process(pid, started)
    ServerProcess.attach(pid, started).stop()


@pytest.mark.parametrize("argv", [["/no/such/program"], ["no-such-program-anywhere"]])
@pytest.mark.parametrize("detached", [True, False])
def test_a_program_that_is_not_there(argv: list[str], detached: bool) -> None:
    descriptors = open_descriptors()
    with pytest.raises(ProcessStartError, match=argv[0]):
        ServerProcess.spawn(argv, detached=detached)
    assert open_descriptors() == descriptors


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    descriptors = open_descriptors()
    with pytest.raises(ProcessStartError, match="log"):
        ServerProcess.spawn(python("pass"), detached=False, log=tmp_path / "file" / "log")
    with pytest.raises(ProcessStartError, match="log"):
        ServerProcess.spawn(python("pass"), detached=True, log=tmp_path)
    assert open_descriptors() == descriptors


def test_nothing_of_ours_is_inherited(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    log = tmp_path / "log"
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        one = start(python("import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"), log=log)
        assert one.wait(10)
    assert log.read_text().split() == "[0, 1, 2, 3]".split()  # 3 is the listing itself


def test_a_script_without_the_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from zmqruntime.process import ServerProcess
            print("run", flush=True)
            one = ServerProcess.spawn([sys.executable, "-c", "pass"], detached=False)
            assert one.wait(20)
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "run\n", "")


def test_repeated_spawning_grows_nothing(start: Callable[..., ServerProcess]) -> None:
    def cycle() -> None:
        one = ServerProcess.spawn(python("pass"), detached=False)
        assert one.wait(10)
        assert one.returncode == 0

    cycle()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("reap")])
    before = open_descriptors()
    for _ in range(10):
        cycle()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("reap")])
    assert open_descriptors() == before


# --------------------------------------------------------------------------- lifeline

TWO_CHILDREN = f"""
import os, signal, sys
from pathlib import Path
from zmqruntime.process import ServerProcess
from zmqruntime.testing import wait_until
argv = [sys.executable, "-c", {CHILD!r}]
a = ServerProcess.spawn(argv, detached=False, log=sys.argv[1])
b = ServerProcess.spawn(argv, detached=False, log=sys.argv[2])
wait_until(lambda: Path(sys.argv[1]).read_text() + Path(sys.argv[2]).read_text() == "up\\nup\\n", 20)
"""


def pipes_of(pid: int) -> set[str]:
    links = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return {link for link in links if link.startswith("pipe:")}


def test_children_end_with_a_killed_parent_and_do_not_hold_each_other(
    tmp_path: Path, orphans: list[int]
) -> None:
    parent = Parent(
        TWO_CHILDREN + "print(a.pid, b.pid, flush=True); signal.pause()",
        tmp_path,
        str(tmp_path / "a"),
        str(tmp_path / "b"),
    )
    pids = parent.read_pids()
    orphans += pids
    started = [process_start_time(pid) or 0 for pid in pids]
    lifelines = [pipes_of(pid) for pid in pids]
    assert all(len(lifeline) == 1 for lifeline in lifelines)
    assert not lifelines[0] & lifelines[1]
    killed = parent.kill()
    for pid, at in zip(pids, started, strict=True):
        assert _identity.wait_for_end(pid, at, 5)
    assert time.monotonic() - killed < 5


def test_one_child_ends_while_its_sibling_and_a_fork_of_the_parent_live(
    tmp_path: Path, orphans: list[int]
) -> None:
    """The fork inherits every descriptor of its parent, and must let go of the lifelines at once."""
    parent = Parent(
        TWO_CHILDREN
        + """
fork = os.fork()
if not fork:
    signal.pause()
print(a.pid, b.pid, fork, flush=True)
signal.pause()
""",
        tmp_path,
        str(tmp_path / "a"),
        str(tmp_path / "b"),
    )
    pids = parent.read_pids()
    orphans += pids
    *children, fork = [(pid, process_start_time(pid) or 0) for pid in pids]
    parent.kill()
    for child in children:
        assert _identity.wait_for_end(*child, 5)
    assert same_process(*fork)


def test_letting_go_of_a_lifeline_ends_that_child_only(
    tmp_path: Path, start: Callable[..., ServerProcess]
) -> None:
    logs = [tmp_path / "a", tmp_path / "b"]
    first, second = [start(python(CHILD), detached=False, log=log) for log in logs]
    wait_until(lambda: [log.read_text() for log in logs] == ["up\n", "up\n"])
    own = {end for end in _open_ends() if end.pipe in pipes_of(first.pid)}
    assert len(own) == 1
    lifeline = own.pop().lifeline
    assert not os.get_inheritable(lifeline._write_end)
    lifeline.close()
    assert first.wait(5)
    assert second.is_alive()


class _End:
    def __init__(self, lifeline: Lifeline) -> None:
        self.lifeline = lifeline
        self.pipe = str(Path(f"/proc/self/fd/{lifeline._write_end}").readlink())


def _open_ends() -> list[_End]:
    from zmqruntime import lifeline

    return [_End(end) for end in lifeline._open_ends]


@pytest.mark.parametrize(
    "hang",
    [
        "while True: pass",
        # PyDLL keeps the interpreter lock while it sleeps: no Python thread ever runs again.
        "import ctypes; ctypes.PyDLL(None).sleep(1000)",
    ],
)
def test_a_child_that_does_not_end_itself_is_ended_after_the_grace(
    tmp_path: Path, orphans: list[int], hang: str
) -> None:
    child = f"""
import os, signal, sys, threading
from zmqruntime.process import watch_lifeline
def hang():
    open(os.environ["ZR_CALLED"], "w").close()
    {hang}
assert watch_lifeline(hang, grace=0.5)
print("up", flush=True)
while True:
    signal.pause()
"""
    parent = Parent(
        f"""
        import signal, sys
        from zmqruntime.process import ServerProcess
        from zmqruntime.testing import wait_until
        argv = [sys.executable, "-c", {child!r}]
        a = ServerProcess.spawn(argv, detached=False, log=sys.argv[1], env={{"ZR_CALLED": sys.argv[2]}})
        wait_until(lambda: open(sys.argv[1]).read() == "up\\n", 20)
        print(a.pid, flush=True)
        signal.pause()
        """,
        tmp_path,
        str(tmp_path / "log"),
        str(tmp_path / "called"),
    )
    (pid,) = parent.read_pids()
    orphans.append(pid)
    started = process_start_time(pid) or 0
    parent.kill()
    assert _identity.wait_for_end(pid, started, 5)
    assert (tmp_path / "called").exists()
    assert "most recent call first" in (tmp_path / "log").read_text(), "where it hung stands in its log"


def test_no_lifeline_no_watch() -> None:
    assert not watch_lifeline(lambda: None, environ={})


def test_the_lifeline_is_not_handed_down(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    log = tmp_path / "log"
    code = f"""
import os, subprocess, sys
from zmqruntime.process import watch_lifeline
fd = int(os.environ[{LIFELINE_VARIABLE!r}])
assert watch_lifeline(lambda: None)
assert not os.get_inheritable(fd)
print({LIFELINE_VARIABLE!r} in os.environ)
"""
    one = start(python(code), detached=False, log=log)
    assert one.wait(20)
    assert log.read_text() == "False\n"
    # A detached process started by a child does not take its parent's lifeline for its own.
    inner = start(python(f"import os; print(os.environ.get({LIFELINE_VARIABLE!r}))"), log=tmp_path / "inner")
    assert inner.wait(20)
    assert (tmp_path / "inner").read_text() == "None\n"


def test_the_parent_is_polled_where_there_is_no_pipe() -> None:
    child = subprocess.Popen(python(SLEEPER))
    died = threading.Event()
    parent = {PARENT_VARIABLE: f"{child.pid}:{process_start_time(child.pid)}"}
    code = f"""
import os
from zmqruntime.process import watch_lifeline
import threading
died = threading.Event()
assert watch_lifeline(died.set, environ={parent!r})
print("up", flush=True)
assert died.wait(20)
os._exit(7)
"""
    watcher = subprocess.Popen(python(code), stdout=subprocess.PIPE)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == b"up\n"
    child.kill()
    child.wait()
    assert watcher.wait(20) == 7
    watcher.stdout.close()
    assert not died.is_set()


# --------------------------------------------------------------------------- stop, attach, wait


def test_wait_uses_no_processor_time(start: Callable[..., ServerProcess]) -> None:
    one = start(python(SLEEPER))
    before = time.thread_time()
    assert not one.wait(0.5)
    assert time.thread_time() - before < 0.05


def test_stop_asks_first(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    stop = tmp_path / "stop"
    os.mkfifo(stop)
    one = start(python(f"open({str(stop)!r}).read()"))
    assert one.stop(5, control=lambda: stop.write_text("now")) == "asked"
    assert one.returncode == 0


def test_stop_terminates_when_nobody_answers(start: Callable[..., ServerProcess]) -> None:
    def control() -> None:
        raise RequestTimeout("no answer")

    one = start(python(SLEEPER))
    assert one.stop(5, control=control) == "terminated"
    assert one.returncode == -signal.SIGTERM


def test_stop_kills_the_stubborn(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    log = tmp_path / "log"
    one = start(python(STUBBORN), log=log)
    wait_until(lambda: "up" in log.read_text())
    assert one.stop(0.2) == "killed"
    assert one.returncode == -signal.SIGKILL


def test_stop_kills_the_stopped(start: Callable[..., ServerProcess]) -> None:
    one = start(python(SLEEPER))
    os.kill(one.pid, signal.SIGSTOP)
    wait_until(lambda: state(one.pid) == "T")
    assert one.is_alive()
    assert one.stop(0.2) == "killed"


def test_another_process_with_the_same_pid_is_left_alone(start: Callable[..., ServerProcess]) -> None:
    one = start(python(SLEEPER))
    other = ServerProcess(one.pid, one.start_time - 1)
    assert not other.is_alive()
    assert other.wait(0)
    assert other.stop(1) == "gone"
    assert one.is_alive()
    assert not _identity.send_signal(one.pid, one.start_time - 1, signal.SIGKILL)
    assert one.is_alive()


def test_attach_checks_the_identity(start: Callable[..., ServerProcess]) -> None:
    one = start(python(SLEEPER))
    with pytest.raises(NotOursError, match=str(one.pid)):
        ServerProcess.attach(one.pid, one.start_time + 1)
    handle = ServerProcess.attach(one.pid, one.start_time)
    assert handle.returncode is None
    assert handle.stop() == "terminated"
    wait_until(lambda: state(one.pid) == "gone")
    with pytest.raises(ProcessError, match="has ended"):
        ServerProcess.attach(one.pid, one.start_time)


def test_without_pidfds_it_works_the_same(
    monkeypatch: pytest.MonkeyPatch, start: Callable[..., ServerProcess]
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    one = start(python(SLEEPER))
    assert process.open_pidfd(one.pid, one.start_time) == -1
    assert not one.wait(0.1)
    assert one.stop() == "terminated"
    assert not _identity.send_signal(one.pid, one.start_time, signal.SIGTERM)


def test_a_process_of_another_user(
    monkeypatch: pytest.MonkeyPatch, start: Callable[..., ServerProcess]
) -> None:
    one = start(python(SLEEPER))

    def refuse(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(signal, "pidfd_send_signal", refuse)
        with pytest.raises(NotOursError, match="another user"):
            one.stop(0.1)
    assert one.is_alive()


# --------------------------------------------------------------------------- guarded commands


def guard_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def command_of(guard: GuardedProcess, log: Path) -> int:
    """Return the pid that the guarded command wrote."""
    return int(wait_until(lambda: log.read_text().strip(), 10))


TELL = "import os; print(os.getpid(), flush=True); "


def test_guarded_command_ends_on_close(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with GuardedProcess(python(TELL + SLEEPER), log=log) as guard:
        pid = command_of(guard, log)
        assert guard_of(pid) == guard.pid
        assert guard.is_alive()
        assert guard.returncode is None
    assert not guard.is_alive()
    assert guard.returncode == 128 + signal.SIGTERM
    assert state(pid) == "gone"
    guard.close()


def test_guarded_command_that_ignores_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {TELL}signal.pause()"
    guard = GuardedProcess(python(code), log=log)
    pid = command_of(guard, log)
    began = time.monotonic()
    guard.close()
    assert time.monotonic() - began < 2
    assert state(pid) == "gone"


def test_guard_ends_with_its_command() -> None:
    guard = GuardedProcess(python("raise SystemExit(5)"))
    assert guard.wait(10)
    assert guard.returncode == 5
    guard.close()


@pytest.mark.parametrize("stubborn", [False, True])
def test_guarded_command_dies_with_its_killed_owner(
    tmp_path: Path, orphans: list[int], stubborn: bool
) -> None:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
    log = tmp_path / "log"
    parent = Parent(
        f"""
        import signal, sys
        from zmqruntime.process import GuardedProcess
        from zmqruntime.testing import wait_until
        guard = GuardedProcess([sys.executable, "-c", {ignore + TELL + SLEEPER!r}], log=sys.argv[1])
        wait_until(lambda: open(sys.argv[1]).read(), 20)
        print(guard.pid, flush=True)
        signal.pause()
        """,
        tmp_path,
        str(log),
    )
    (guard,) = parent.read_pids()
    command = int(log.read_text())
    orphans += [guard, command]
    started = process_start_time(command) or 0
    guard_started = process_start_time(guard) or 0
    killed = parent.kill()
    assert _identity.wait_for_end(command, started, 5)
    assert time.monotonic() - killed < 2
    assert _identity.wait_for_end(guard, guard_started, 5)


def test_guarded_command_dies_with_its_killed_guard(tmp_path: Path) -> None:
    log = tmp_path / "log"
    guard = GuardedProcess(python(TELL + SLEEPER), log=log)
    pid = command_of(guard, log)
    started = process_start_time(pid) or 0
    os.kill(guard.pid, signal.SIGKILL)
    assert _identity.wait_for_end(pid, started, 2)
    assert guard.wait(2)
    assert guard.returncode == -signal.SIGKILL


def test_what_a_guarded_command_started_ends_too(tmp_path: Path, orphans: list[int]) -> None:
    log = tmp_path / "log"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {TELL + SLEEPER!r}]); {SLEEPER}"
    guard = GuardedProcess(python(code), log=log)
    inner = command_of(guard, log)
    orphans.append(inner)
    started = process_start_time(inner) or 0
    guard.close()
    assert _identity.wait_for_end(inner, started, 2)


def test_guarded_command_gets_the_descriptors_it_needs() -> None:
    read, write = os.pipe()
    guard = GuardedProcess(python(f"import os; os.write({write}, b'display 7'); {SLEEPER}"), pass_fds=[write])
    os.close(write)
    assert os.read(read, 100) == b"display 7"
    guard.close()
    assert os.read(read, 100) == b"", "nobody else keeps it open"
    os.close(read)


def test_a_guarded_command_that_is_not_installed() -> None:
    with pytest.raises(ProcessStartError, match="no-such-command"):
        GuardedProcess(["no-such-command"])
    with pytest.raises(ProcessStartError, match="Xvfb"):
        GuardedProcess(["Xvfb"], env={"PATH": "/nowhere"})


def test_a_guarded_command_that_cannot_be_executed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("\x00not a program")
    program.chmod(0o755)
    log = tmp_path / "log"
    guard = GuardedProcess([str(program)], log=log)
    assert guard.wait(10)
    assert guard.returncode == 127
    assert str(program) in log.read_text()
    guard.close()


def test_two_guards_do_not_hold_each_other(tmp_path: Path) -> None:
    logs = [tmp_path / "a", tmp_path / "b"]
    first, second = [GuardedProcess(python(TELL + SLEEPER), log=log) for log in logs]
    for guard, log in zip((first, second), logs, strict=True):
        command_of(guard, log)
    assert not pipes_of(first.pid) & pipes_of(second.pid)
    first.close()
    assert second.is_alive()
    second.close()
