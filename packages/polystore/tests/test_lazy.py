"""Lazy variants: the fields of their class, None for what was not said, values that travel."""

from __future__ import annotations

import copy
import threading
from dataclasses import FrozenInstanceError, dataclass, field, fields, make_dataclass, replace
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

from polystore import _lazy
from polystore.config import LazySettings, LazyVFSConfig, Settings, VFSConfig
from polystore.constants import Backend
from polystore.errors import SettingsError
from polystore.inheritance import NONE, Lazy, lazy
from polystore.projection import DisplaySpec


@dataclass(frozen=True)
class Display:
    colormap: str = "gray"
    gamma: float | None = 1.0

    def __post_init__(self) -> None:
        if not self.colormap:
            raise SettingsError(f"colormap={self.colormap!r}: give a name")


@dataclass(frozen=True)
class Place:
    port: int = 1


@dataclass(frozen=True)
class Viewer(Place, Display):
    title: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Whole:
    name: str
    viewer: Viewer | None = None
    display: Display = field(default_factory=Display)


LazyDisplay, LazyPlace, LazyViewer, LazyWhole = lazy(Display), lazy(Place), lazy(Viewer), lazy(Whole)


def kind(value: object) -> type[Any]:
    assert isinstance(value, type)
    return value


def test_it_has_the_fields_of_its_class_in_their_order_and_nothing_is_said() -> None:
    for cls, made in ((Viewer, LazyViewer), (VFSConfig, LazyVFSConfig), (Settings, LazySettings)):
        assert [each.name for each in fields(kind(made))] == [each.name for each in fields(cls)]
        assert [each.kw_only for each in fields(kind(made))] == [each.kw_only for each in fields(cls)]
        assert made().said() == {}
        assert kind(made).__name__ == f"Lazy{cls.__name__}"
        assert kind(made).__module__ == cls.__module__
    assert LazyViewer("viridis", None, 3, title="x").said() == {
        "colormap": "viridis",
        "port": 3,
        "title": "x",
    }  # type: ignore[arg-type]


def test_lazy_variants_inherit_from_each_other_as_their_classes_do() -> None:
    assert kind(LazyViewer).__mro__[:4] == (LazyViewer, LazyPlace, LazyDisplay, Lazy)
    assert isinstance(LazyViewer(), kind(LazyDisplay))
    assert not isinstance(LazyViewer(), Viewer)
    assert not isinstance(Viewer(), Lazy)


def test_there_is_one_per_class_also_when_threads_make_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Fresh:
        a: int = 1

    found: list[object] = []
    gate = threading.Barrier(8)

    def made_together(*arguments: Any, **options: Any) -> type[Any]:
        gate.wait(30)  # nobody has stored a class before all have one
        return make_dataclass(*arguments, **options)

    def make() -> None:
        found.append(lazy(Fresh))

    monkeypatch.setattr(_lazy, "make_dataclass", made_together)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert lazy(Viewer) is LazyViewer


def test_equality_is_about_class_and_what_was_said() -> None:
    assert LazyViewer(port=3) == LazyViewer(port=3)
    assert hash(LazyViewer(port=3)) == hash(LazyViewer(port=3))
    assert LazyViewer(port=3) != LazyViewer(port=4)
    assert LazyViewer() != LazyViewer(port=1)  # said, though it is the default
    unlike: list[object] = [Viewer(), LazyDisplay()]
    assert LazyViewer() not in unlike
    assert LazyVFSConfig("zarr") == LazyVFSConfig(Backend.ZARR)  # type: ignore[arg-type]
    assert LazyVFSConfig("zarr").materialization_backend is Backend.ZARR  # type: ignore[arg-type]


def test_it_is_frozen_and_can_be_changed_in_a_copy() -> None:
    said = LazyViewer(port=3)
    with pytest.raises(FrozenInstanceError):
        said.port = 4  # type: ignore[misc]
    assert replace(said, colormap="fire") == LazyViewer(port=3, colormap="fire")  # type: ignore[type-var]
    assert copy.deepcopy(said) == said
    assert repr(said) == "LazyViewer(port=3)"


def test_what_the_class_refuses_is_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="colormap=''"):
        LazyViewer(colormap="")
    with pytest.raises(SettingsError, match="'tape'.*known: memory"):
        LazyVFSConfig("tape")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unknown|unexpected"):
        LazyViewer(prot=3)  # type: ignore[call-arg]


def test_none_can_be_said_where_it_is_allowed() -> None:
    assert LazyDisplay(gamma=NONE).resolve(Display(gamma=2.0)).gamma is None
    assert LazyDisplay(gamma=None).resolve(Display(gamma=2.0)).gamma == 2.0
    with pytest.raises(SettingsError, match="port cannot be None"):
        LazyViewer(port=NONE)
    assert copy.deepcopy(NONE) is NONE is travelled(NONE)


def test_a_nested_configuration_is_of_its_class_or_lazy_or_a_mapping() -> None:
    assert LazyWhole("a", viewer={"port": 3}).viewer == LazyViewer(port=3)  # type: ignore[arg-type]
    assert LazyWhole("a", viewer=Viewer(port=3)).viewer == Viewer(port=3)
    with pytest.raises(SettingsError, match=r"Whole\.viewer=3: give a Viewer, a LazyViewer or NONE"):
        LazyWhole("a", viewer=3)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"Whole\.display"):
        LazyWhole("a", display=Place())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"Whole\.display=<object"):
        LazyWhole("a", display=object())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="display cannot be None"):
        LazyWhole("a", display=NONE)


@pytest.mark.parametrize("thing", [int, 3, lambda: 3, type("Plain", (), {})])
def test_only_frozen_dataclasses_have_one(thing: Any) -> None:
    with pytest.raises(TypeError, match="no frozen dataclass"):
        lazy(thing)


def test_types_that_cannot_be_found_are_named() -> None:
    @dataclass(frozen=True)
    class Odd:
        a: Nowhere | None = None  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match=r"Odd: name 'Nowhere' is not defined; import the types"):
        lazy(Odd)()


def test_a_thawed_dataclass_has_none() -> None:
    @dataclass
    class Thawed:
        a: int = 1

    with pytest.raises(TypeError, match="no frozen dataclass"):
        lazy(Thawed)


def test_it_travels_by_its_class_even_without_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    said = LazyVFSConfig("zarr")  # type: ignore[arg-type]
    assert travelled(said) == said
    assert type(travelled(said)) is LazyVFSConfig
    nameless = lazy(DisplaySpec)(colormap="fire")
    assert travelled(nameless) == nameless
    # A worker that has not made the variant yet makes it when one arrives.
    data = bytes(ForkingPickler.dumps(nameless))
    monkeypatch.setattr(_lazy, "_MADE", {})
    assert ForkingPickler.loads(data).said() == {"colormap": "fire"}


def travelled(value: Any) -> Any:
    return ForkingPickler.loads(bytes(ForkingPickler.dumps(value)))
