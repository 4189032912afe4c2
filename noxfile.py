# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]>=2026.4"]
#
# [tool.nox]
# script-download-python = "never"
# ///
"""The project's verbs, the same here and in CI: ``nox -s demo|tests|lint|typing|imports|bench|build``.

``python -m pip install nox`` is all that must be there. The block above lets nox fetch uv once, as an
ordinary package, where it is missing: it makes the environments in seconds.

``nox -s tests`` gives each package an environment that holds only what it may import; what follows
``--`` goes to pytest (``nox -s tests -- -k arena``, ``nox -s "tests(polystore)" -- --slow``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import nox
from nox.command import CommandFailed
from nox.project import dependency_groups, load_toml

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.sessions = ["lint", "typing", "imports", "tests"]

# The sessions use the interpreter that runs nox; uv must not go looking for another on the network.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"

ROOT = Path(__file__).parent
PACKAGES = ("zmqruntime", "polystore", "openhcs-viewers")
REPORTS = ROOT / ".nox" / "reports"
DIST = ROOT / "dist"
SYSTEM_PACKAGES = ROOT / "packages/openhcs-viewers/src/openhcs_viewers/system_packages.json"

# --- environments -----------------------------------------------------------------------------------------

TREE: dict[str, tuple[str, ...]] = {
    "zmqruntime": ("zmqruntime",),
    "polystore": ("zmqruntime", "polystore[all]"),
    "openhcs-viewers": ("zmqruntime", "polystore", "openhcs-viewers[demo,fiji,napari]"),
    "integration": ("zmqruntime", "polystore[all]", "openhcs-viewers[all]"),
}
"""What of this tree each test session may import."""

AT_ONCE = {"zmqruntime": 3, "polystore": 2}
"""How many processes run a package's tests, a file each: these wait for sockets and locks half of their time. The
others open windows on one display, or measure how long a pipeline is held. ``-- -n 0`` runs them in one."""


def pyproject(package: str = "") -> dict[str, Any]:
    """Return the parsed pyproject of a package, or of the workspace."""
    return load_toml(ROOT / "packages" / package / "pyproject.toml" if package else ROOT / "pyproject.toml")


def group(name: str, package: str = "") -> list[str]:
    """Return the requirements of a dependency group."""
    return list(dependency_groups(pyproject(package), name))


def tree(*names: str) -> list[str]:
    """Return the installer's arguments for packages of this tree: editable, with extras."""
    return [argument for name in names for argument in ("-e", f"packages/{name}")]


@contextmanager
def timed(session: nox.Session) -> Iterator[None]:
    """Say how long the set-up took."""
    start = time.monotonic()
    yield
    session.log(f"environment ready in {time.monotonic() - start:.0f} s")


# --- what is needed outside Python --------------------------------------------------------------------------


def is_there(proof: dict[str, Any]) -> bool:
    """Return whether a program, a Java, a shared library or a file of the system is there."""
    if "command" in proof:
        return shutil.which(proof["command"]) is not None
    if "java" in proof:
        return has_java(proof["java"])
    if "file" in proof:
        return any(list(Path("/").glob(pattern.lstrip("/"))) for pattern in proof["file"])
    return proof["library"] in known_libraries()


def has_java(oldest: int) -> bool:
    """Return whether the Java of JAVA_HOME, else of PATH, is new enough and can open windows."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which(Path(home, "bin", "java") if home else "java")
    if program is None:
        return False
    said = subprocess.run(
        [program, "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=False
    ).stderr
    version = re.search(r"^ *java\.version = (?:1\.)?(\d+)", said, re.MULTILINE)
    folder = re.search(r"^ *java\.home = (.+)$", said, re.MULTILINE)
    if version is None or folder is None or int(version[1]) < oldest:
        return False
    return any(Path(folder[1].strip(), "lib").rglob("libawt_xawt.so"))


@cache
def known_libraries() -> str:
    """Return the dynamic linker's list of libraries (``ldconfig`` is in sbin, off most users' PATH)."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    ldconfig = shutil.which("ldconfig", path=path)
    if ldconfig is None:
        return ""
    return subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout


def missing(need: str) -> list[str]:
    """Return the Debian packages that `need` lacks here."""
    packages = json.loads(SYSTEM_PACKAGES.read_text())["needs"][need]["packages"]
    known_libraries.cache_clear()
    return [package["debian"] for package in packages if not is_there(package["proof"])]


def ensure(session: nox.Session, *needs: str) -> bool:
    """Install what `needs` lack as root on Debian or Ubuntu, else say how; return whether all is there."""
    listed = json.loads(SYSTEM_PACKAGES.read_text())
    complete = True
    for need in needs:
        if sys.platform not in listed["needs"][need]["platforms"] or not (lacking := missing(need)):
            continue
        remedy = listed["remedy"].format(packages=" ".join(lacking))
        title = listed["needs"][need]["title"]
        if Path("/etc/debian_version").exists() and shutil.which("apt-get") and os.geteuid() == 0:
            session.warn(f"missing for {title}. Installing, as root: {remedy}")
            apt = {
                "external": True,
                "env": {"DEBIAN_FRONTEND": "noninteractive"},
                "success_codes": range(256),
            }
            # An index of somebody else's that cannot be reached is no reason to stop: what counts is
            # whether the packages are there in the end.
            session.run("apt-get", "update", **apt)
            session.run("apt-get", "install", "-y", "--no-install-recommends", *lacking, **apt)
            lacking = missing(need)
        if lacking:
            complete = False
            session.warn(f"missing for {title}: {', '.join(lacking)}. As root: {remedy}")
    return complete


def viewers_asked_for(arguments: list[str]) -> list[str]:
    """Return the kinds that ``--viewer KIND ...`` names; napari when it names none."""
    kinds: list[str] = []
    taking = False
    for argument in arguments:
        if argument.startswith("-"):
            option, _, value = argument.partition("=")
            taking = option == "--viewer"
            argument = value
        if taking and argument:
            kinds += argument.split(",")
    return kinds or ["napari"]


def needs_of(kinds: list[str]) -> list[str]:
    """Return the needs outside Python of these kinds of viewers."""
    needs = json.loads(SYSTEM_PACKAGES.read_text())["needs"]
    return [need for need, entry in needs.items() if set(kinds) & set(entry["viewers"])]


def fetch_imagej(session: nox.Session) -> None:
    """Fetch the pinned ImageJ before it is needed; what is missing beside it is told by whatever needs it."""
    said = session.run("openhcs-viewers", "doctor", "fiji", "--install", success_codes=[0, 1], silent=True)
    for line in str(said).splitlines():
        if "net.imagej:ij" in line and "taken" not in line:
            session.log(line)


# --- sessions -----------------------------------------------------------------------------------------------


@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """Watch a plate appear in a viewer while a small pipeline computes it."""
    kinds = viewers_asked_for(session.posargs)
    known = pyproject("openhcs-viewers")["project"]["optional-dependencies"]
    extras = ",".join(["demo", *sorted(set(kinds) & set(known))])
    with timed(session):
        ensure(session, *needs_of(kinds))
        session.install(*tree("zmqruntime", "polystore", f"openhcs-viewers[{extras}]"))
        if "fiji" in kinds:
            fetch_imagej(session)
    session.run("openhcs-viewers", "demo", *session.posargs)


@nox.session
@nox.parametrize("package", [nox.param(name, id=name) for name in TREE])
def tests(session: nox.Session, package: str) -> None:
    """Run the tests of one package, or of the whole flow, in an environment of its own."""
    folder = Path("tests/integration") if package == "integration" else Path("packages", package, "tests")
    given = [a for a in session.posargs if "/" in a and Path(a.partition("::")[0]).exists()]
    options = [a for a in session.posargs if a not in given]
    chosen = [path for path in given if Path(path).resolve().is_relative_to((ROOT / folder).resolve())]
    if given and not chosen:
        session.skip(f"none of the given files is in {folder}")
    with timed(session):
        if package in ("openhcs-viewers", "integration"):
            ensure(session, *needs_of(["fiji", "napari"]), "jdk")
        test_group = group("integration") if package == "integration" else group("test", package)
        session.install(*tree(*TREE[package]), *test_group)
        if package in ("openhcs-viewers", "integration"):
            fetch_imagej(session)
    report = REPORTS / f"{package}.xml"
    report.unlink(missing_ok=True)
    # An expression that matches nothing in this package is no failure; a whole suite without a test is.
    codes = [0, 5] if session.posargs else [0]
    if package in AT_ONCE:
        options = ["-n", str(AT_ONCE[package]), "--dist", "loadfile", *options]
    try:
        session.run(
            "pytest", f"--junitxml={report}", *options, *(chosen or [str(folder)]), success_codes=codes
        )
    except CommandFailed:
        session.error(f"tests of {package} failed")
    finally:
        subprocess.run([sys.executable, str(ROOT / "tools/totals.py"), package, str(report)], check=False)


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", *session.posargs)


@nox.session(reuse_venv=True)
def typing(session: nox.Session) -> None:
    """Check types, strictly, in the packages' sources."""
    with timed(session):
        session.install(*tree(*TREE["polystore"], "openhcs-viewers"), *group("typing"))
    session.run("mypy", *session.posargs)


@nox.session(reuse_venv=True)
def imports(session: nox.Session) -> None:
    """Check that imports point one way and that nothing heavy is imported at module level."""
    session.install("--no-deps", *tree(*PACKAGES))
    session.install(*group("imports"))
    session.run("lint-imports", *session.posargs)
    session.run("python", "tools/top_level_imports.py")
    session.run("python", "tools/typed_decoding.py")


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Measure: ``nox -s bench -- [GROUP ...] [--out DIR] [--peers]``; peers get environments of their own."""
    with timed(session):
        ensure(session, *needs_of(["fiji", "napari"]))
        session.install(
            *tree("zmqruntime", "polystore[all]", "openhcs-viewers[demo,fiji,napari]"), *group("bench")
        )
        fetch_imagej(session)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=False)
def system(session: nox.Session) -> None:
    """Install what is needed outside Python (all of it, or the needs named), or print how."""
    needs = session.posargs or list(json.loads(SYSTEM_PACKAGES.read_text())["needs"])
    if not ensure(session, *needs):
        session.error("not everything is there")


@nox.session
def build(session: nox.Session) -> None:
    """Build the three sdists and wheels into ``dist``, then prove each wheel alone (session ``wheel``)."""
    shutil.rmtree(DIST, ignore_errors=True)
    backend = {
        requirement for name in PACKAGES for requirement in pyproject(name)["build-system"]["requires"]
    }
    session.install(*group("build"), *sorted(backend))
    for name in PACKAGES:
        # First the sdist, then the wheel from it: what is missing in the sdist is missing in the wheel.
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(DIST), f"packages/{name}")
    for target in WHEELS:
        session.notify(f"wheel({target})")


WHEELS: dict[str, tuple[str, ...]] = {
    "zmqruntime": ("zmqruntime",),
    "polystore": ("polystore",),
    "polystore[streaming]": ("polystore", "zmqruntime"),
    "openhcs-viewers": ("openhcs-viewers", "polystore", "zmqruntime"),
}
"""What is installed from ``dist``, and every workspace package that must then be there."""


@nox.session(default=False)
@nox.parametrize("target", [nox.param(name, id=name) for name in WHEELS])
def wheel(session: nox.Session, target: str) -> None:
    """Install one built wheel, with only the in-tree wheels it requires, in an empty environment."""
    links = Path(session.create_tmp()) / "links"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    pins = []
    for name in WHEELS[target]:
        (built,) = DIST.glob(f"{name.replace('-', '_')}-*.whl")
        shutil.copy(built, links)
        pins.append(f"{name}=={built.name.split('-')[1]}")
    constraints = links / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    session.install("--find-links", str(links), "--constraint", str(constraints), target)
    session.run("python", "-I", "tools/check_wheel.py", str(links), *WHEELS[target])
    for script in pyproject(WHEELS[target][0])["project"].get("scripts", {}):
        session.run(script, "--help", silent=True)
