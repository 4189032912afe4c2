"""Registries as mappings, and the classes that register themselves."""

from __future__ import annotations

import logging
import sys
import types
from abc import ABC, abstractmethod
from typing import Any

import pytest

from polystore.errors import BackendClashError, BackendLoadError, BackendNotFoundError
from polystore.registry import LazyDiscoveryDict, Registry, SecondaryRegistryDict, register_subclass


class Metadata:
    pass


def make(**options: Any) -> tuple[Registry[Any], type[Any]]:
    """A registry of its own and the base class whose subclasses go into it."""
    registry: Registry[Any] = Registry("scope", group="polystore.test_scopes", **options)

    class Base(ABC):
        metadata: type[Any] | None = None

        def __init_subclass__(cls, **arguments: Any) -> None:
            super().__init_subclass__(**arguments)
            register_subclass(cls, registry)

        @abstractmethod
        def parse_filename(self, name: str) -> Any: ...

    return registry, Base


def define(base: type[Any], name: str = "Mine", module: str = __name__, **body: Any) -> type[Any]:
    def parse(self: Any, name: str) -> str:
        return name

    return type(base)(name, (base,), {"__module__": module, "parse_filename": parse, **body})


def test_a_class_that_names_itself_registers_itself_when_it_is_defined() -> None:
    registry, base = make()
    handlers = LazyDiscoveryDict(registry)
    assert list(handlers.keys()) == []
    mine = define(base, _microscope_type="my_microscope")
    assert list(handlers.keys()) == ["my_microscope"]
    assert handlers["my_microscope"] is mine
    assert registry.plugin("my_microscope").origin == f"defined in {__name__}"


def test_abstract_and_keyless_classes_are_not_registered() -> None:
    registry, base = make()

    class StillAbstract(base):  # type: ignore[misc,valid-type]
        _microscope_type = "abstract"

    define(base)
    mine = define(base, _microscope_type="mine")
    define(mine, "Derived")  # inherits the key, and does not take its parent's place
    assert registry.names() == ("mine",)
    assert registry.get("mine") is mine


def test_a_class_defined_again_replaces_itself() -> None:
    registry, base = make()
    define(base, _microscope_type="mine")
    again = define(base, _microscope_type="mine")
    assert registry.get("mine") is again
    in_the_script = define(base, module="__main__", _microscope_type="mine")
    assert registry.get("mine") is in_the_script


def test_another_class_of_a_taken_name_is_refused_by_name() -> None:
    registry, base = make(builtins={"disk": "os:sep"})
    define(base, "First", _microscope_type="mine")
    with pytest.raises(BackendClashError, match=r"'mine' is already .*First.*Second"):
        define(base, "Second", _microscope_type="mine")
    with pytest.raises(BackendClashError, match="built in"):
        define(base, "Third", _microscope_type="disk")
    assert registry.names() == ("disk", "mine")


def test_the_class_an_entry_point_or_the_table_declares_stays_that_plugin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, base = make(builtins={"vendor": "ps_vendor:Vendor", "door": "ps_door:Outer"})
    module = types.ModuleType("ps_vendor.handlers")
    module.Vendor = define(base, "Vendor", "ps_vendor.handlers", _microscope_type="vendor")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ps_vendor", module)
    assert registry.plugin("vendor").origin == "built in"
    assert registry.get("vendor") is module.Vendor

    class Importer(types.ModuleType):
        @property
        def Outer(self) -> type[Any]:  # defined while it is being loaded, under quite another name
            return define(base, "Inner", "elsewhere", _microscope_type="door")

    monkeypatch.setitem(sys.modules, "ps_door", Importer("ps_door"))
    assert registry.get("door").__name__ == "Inner"


def test_a_mapping_behaves_like_a_dict() -> None:
    handlers = LazyDiscoveryDict(make(builtins={"sep": "os:sep", "broken": "no_such_module:X"})[0])
    assert dict.fromkeys(handlers) == {"broken": None, "sep": None}
    assert len(handlers) == 2
    assert "sep" in handlers
    assert 3 not in handlers
    assert handlers.get("sep") == "/"
    assert handlers.get("none") is None
    with pytest.raises(BackendLoadError):
        handlers.get("broken")
    with pytest.raises(KeyError, match="unknown scope 'spe' .*did you mean 'sep'"):
        handlers["spe"]
    handlers["mine"] = Metadata
    assert handlers["mine"] is Metadata
    assert repr(handlers) == "<scopes: broken, mine, sep>"
    del handlers["mine"]
    with pytest.raises(BackendNotFoundError):
        del handlers["mine"]


def test_names_can_be_hidden() -> None:
    handlers = LazyDiscoveryDict(make(builtins={"sep": "os:sep"})[0], hidden=lambda: frozenset({"sep"}))
    assert list(handlers) == []
    assert "sep" not in handlers
    with pytest.raises(BackendNotFoundError):
        handlers["sep"]


def test_a_secondary_registry_lets_the_primary_find_its_plugins() -> None:
    registry, base = make()
    looked = []
    scan = registry._scan
    registry._scan = lambda: looked.append(1) or scan()  # type: ignore[method-assign,func-returns-value]
    metadata = SecondaryRegistryDict(LazyDiscoveryDict(registry), "metadata")
    assert list(metadata.keys()) == []
    assert looked == [1]
    define(base, "Plain", _microscope_type="plain")
    define(base, "Rich", _microscope_type="rich", metadata=Metadata)
    assert list(metadata.keys()) == ["rich"]
    assert metadata["rich"] is Metadata
    assert "plain" not in metadata
    assert metadata.get("plain") is None
    assert metadata.get("unknown") is None
    with pytest.raises(BackendNotFoundError, match="'plain' has no metadata"):
        metadata["plain"]
    metadata["plain"] = Metadata
    assert len(metadata) == 2
    del metadata["plain"]
    with pytest.raises(BackendNotFoundError):
        del metadata["plain"]


def test_a_broken_plugin_is_left_out_of_a_secondary_registry_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry, base = make(builtins={"broken": "no_such_module:X"})
    define(base, _microscope_type="mine", metadata=Metadata)
    with caplog.at_level(logging.ERROR):
        assert list(SecondaryRegistryDict(registry, "metadata")) == ["mine"]
    assert "'broken' is left out" in caplog.text
