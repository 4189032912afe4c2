"""Builds what stands in for ImageJ2: a Fiji folder, and a local Maven repository, around a real ImageJ 1."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "stand_in"

VERSION = "2.17.0"

MANAGED = (
    ("net.imagej", "imagej-legacy", "2.0.3"),
    ("org.scijava", "scijava-config", "2.0.4"),
    ("io.scif", "scifio-labeling", "0.3.2"),
    ("net.imglib2", "imglib2-imglyb", "2.0.1"),
)
"""What pyimagej asks for beside ImageJ2, in the versions that its parent names."""


def compile_gateway(ij: Path, folder: Path) -> Path:
    """Compile the stand-in against a real ``ij.jar``; return its jar."""
    javac = shutil.which(os.path.join(os.environ.get("JAVA_HOME", ""), "bin", "javac")) or shutil.which(
        "javac"
    )
    if javac is None:
        pytest.fail("the stand-in gateway cannot be compiled: no javac; run 'nox -s system -- jdk' as root")
    classes = folder / "classes"
    command = [javac, "--release", "11", "-nowarn", "-cp", str(ij), "-d", str(classes)]
    subprocess.run([*command, *map(str, SOURCES.rglob("*.java"))], check=True, timeout=120)
    return pack(
        folder / "imagej.jar", {str(one.relative_to(classes)): one.read_bytes() for one in files(classes)}
    )


def patched(ij: Path, target: Path) -> Path:
    """Return a copy of ImageJ 1 whose version names ImageJ2's before its own, as under the real gateway."""
    old, new = b"\x01\x00\x051.54p", b"\x01\x00\x0c2.17.0/1.54p"
    with zipfile.ZipFile(ij) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    entries["ij/IJ.class"] = entries["ij/IJ.class"].replace(old, new)
    return pack(target, entries)


def fiji_folder(ij: Path, gateway: Path, folder: Path) -> Path:
    """Return a Fiji as it is unpacked, with a plugin that is not in a jar's menu."""
    jars = folder / "jars"
    (jars / "linux-amd64").mkdir(parents=True)
    (folder / "plugins").mkdir()
    shutil.copy(gateway, jars / "linux-amd64" / f"imagej-{VERSION}.jar")
    patched(ij, jars / "ij-1.54p.jar")
    return folder


def maven_repository(ij: Path, gateway: Path, folder: Path) -> Path:
    """Return a local Maven repository that has ImageJ2, all it depends on, and nothing else."""
    managed = "".join(dependency(*one) for one in MANAGED)
    management = f"<dependencyManagement><dependencies>{managed}</dependencies></dependencyManagement>"
    needed = f"<dependencies>{dependency('net.imagej', 'ij', '1.54p')}</dependencies>"
    install(folder, "net.imagej", "imagej", VERSION, gateway.read_bytes(), management + needed)
    install(folder, "net.imagej", "ij", "1.54p", patched(ij, folder.with_suffix(".jar")).read_bytes())
    for group, artifact, version in MANAGED:
        empty = pack(folder.with_suffix(".empty"), {"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n"})
        install(folder, group, artifact, version, empty.read_bytes())
    return folder


def dependency(group: str, artifact: str, version: str) -> str:
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
    )


def install(repository: Path, group: str, artifact: str, version: str, jar: bytes, rest: str = "") -> None:
    folder = repository.joinpath(*group.split("."), artifact, version)
    folder.mkdir(parents=True)
    pom = (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>{rest}</project>"
    ).encode()
    for suffix, content in (("jar", jar), ("pom", pom)):
        (folder / f"{artifact}-{version}.{suffix}").write_bytes(content)
        digest = hashlib.sha1(content).hexdigest()
        (folder / f"{artifact}-{version}.{suffix}.sha1").write_text(digest)


def pack(target: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as jar:
        for name, content in entries.items():
            jar.writestr(name, content)
    return target


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
