"""The version: from this package's own tags, and in step with what the tree requires of it."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import polystore

PACKAGE = Path(__file__).parents[1]
PYPROJECT = tomllib.loads(PACKAGE.joinpath("pyproject.toml").read_text())


def requirements_on(name: str) -> list[Requirement]:
    declared = [Requirement(line) for line in importlib.metadata.requires("polystore") or []]
    return [requirement for requirement in declared if requirement.name == name]


def test_version_is_the_installed_one() -> None:
    assert polystore.__version__ == importlib.metadata.version("polystore")


def test_version_comes_from_tags_of_this_package_only() -> None:
    version = PYPROJECT["tool"]["hatch"]["version"]
    assert version["raw-options"]["git_describe_command"].endswith("--match polystore-v*")
    pattern = re.compile(version["tag-pattern"])
    assert pattern.match("polystore-v1.2.3")["version"] == "1.2.3"  # type: ignore[index]
    assert not pattern.match("zmqruntime-v1.2.3")
    assert not pattern.match("v1.2.3")


@pytest.mark.parametrize("name", ("zmqruntime",))
def test_requirements_inside_the_tree_have_a_floor_and_a_ceiling(name: str) -> None:
    found = requirements_on(name)
    assert found
    for requirement in found:
        assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}
        assert requirement.specifier.contains(importlib.metadata.version(name), prereleases=True)


@pytest.mark.parametrize("name", ("zmqruntime",))
def test_requirements_accept_the_version_of_a_checkout_without_tags(name: str) -> None:
    other = tomllib.loads(PACKAGE.parent.joinpath(name, "pyproject.toml").read_text())
    fallback = other["tool"]["hatch"]["version"]["fallback-version"]
    assert all(
        requirement.specifier.contains(fallback, prereleases=True) for requirement in requirements_on(name)
    )
