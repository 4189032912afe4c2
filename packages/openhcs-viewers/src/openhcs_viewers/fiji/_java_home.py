"""The Java of this machine: found and looked at without being started in this process. Never downloaded.

Asked in this order: ``JAVA_HOME``, then the ``java`` on ``PATH``. That is the order of the stack below pyimagej; we
look ourselves because it would fetch a Java where it finds none, and because it takes the folder above
``/usr/bin/java`` for a Java (all of ``/usr`` is then searched for a library, and any Java of the machine found).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from openhcs_viewers.errors import JavaError
from openhcs_viewers.system import install_command

__all__ = ["OLDEST_JAVA", "Java", "find_java"]

OLDEST_JAVA = 11
"""What scyjava 1.12 and JPype 1.7, which pyimagej stands on, need at least."""

ANSWER_TIMEOUT = 20.0
"""Seconds ``java -version`` may take; it takes 0.1, on a loaded machine more."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that can be used.

    Parameters
    ----------
    home
        Its folder, as it says itself.
    version
        As it says: ``"17.0.15"``.
    windows
        Whether it can open windows: not without the library for X that Debian puts into a package of its own.
    """

    home: Path
    version: str
    windows: bool

    @property
    def major(self) -> int:
        """The number people know it by, such as 17."""
        return _major(self.version)

    def __str__(self) -> str:
        return f"Java {self.version} in {self.home}"


def find_java(*, windows: bool = False) -> Java:
    """Return the Java that would be used, having asked it for its version.

    Parameters
    ----------
    windows
        Insist on one that can open windows.

    Raises
    ------
    JavaError
        There is none, ``JAVA_HOME`` points nowhere, it is too old, or it has no windows; with the command that helps.
    """
    program = _program()
    said = _ask(program)
    version = _property(said, "java.version")
    home = Path(_property(said, "java.home") or program.resolve().parents[1])
    if not re.fullmatch(r"\d+(\.\d+)*(_\d+)?", version):
        # scyjava cannot read such a version, takes it for none, and would download another Java.
        raise JavaError(
            f"{program} says it is Java {version!r}, which is no released version: {_remedy('default-jre')}"
        )
    if _major(version) < OLDEST_JAVA:
        raise JavaError(
            f"{program} is Java {version}; ImageJ is started by pyimagej, scyjava and JPype, which need Java "
            f"{OLDEST_JAVA} or newer: {_remedy('default-jre')}"
        )
    java = Java(home, version, _has_windows(home))
    if windows and not java.windows:
        raise JavaError(
            f"{java} cannot open windows, it is a headless one (no libawt_xawt.so): {_remedy('default-jre')}; or do "
            "without a window: display='headless'"
        )
    return java


def _program() -> Path:
    name = "java.exe" if sys.platform == "win32" else "java"
    home = os.environ.get("JAVA_HOME", "")
    if home:
        program = Path(home, "bin", name)
        if not program.is_file():
            raise JavaError(
                f"JAVA_HOME={home!r} points nowhere: there is no bin/{name}; correct it, or unset it to use the java "
                "on PATH"
            )
        return program
    found = shutil.which("java")
    if found is None:
        raise JavaError(f"there is no Java (JAVA_HOME is not set, no java on PATH): {_remedy('default-jre')}")
    return Path(found)


def _ask(program: Path) -> str:
    """Return what it says of itself: its properties, one a line."""
    command = [str(program), "-XshowSettings:properties", "-version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JavaError(f"{program} cannot be run: {error}; {_remedy('default-jre')}") from error
    if done.returncode or "java.version = " not in done.stderr:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise JavaError(f"{program} is no Java that works ({said}): {_remedy('default-jre')}")
    return done.stderr


def _property(said: str, name: str) -> str:
    match = re.search(rf"^\s*{re.escape(name)} = (.*)$", said, re.MULTILINE)
    return match[1].strip() if match else ""


def _major(version: str) -> int:
    first, _, rest = version.partition(".")
    return int(rest.partition(".")[0]) if first == "1" and rest else int(first)


def _has_windows(home: Path) -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return any((home / "lib" / name).exists() for name in ("libawt_xawt.so", "amd64/libawt_xawt.so"))


def _remedy(package: str) -> str:
    if sys.platform == "linux":
        return (
            f"run '{install_command((package,))}' as root, or set JAVA_HOME to a Java {OLDEST_JAVA} or newer"
        )
    return f"install Java {OLDEST_JAVA} or newer and set JAVA_HOME to its folder"
