"""The resolver, as a table of levels; its algebra, as properties; other threads and processes."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore.config import LazyVFSConfig, VFSConfig
from polystore.config_sources import effective, section
from polystore.constants import Backend
from polystore.errors import SettingsError
from polystore.inheritance import DEFAULT, NONE, Origin, Setting, fill, lazy, overlay, partial, resolve


@section("show", "TEST_SHOW")
@dataclass(frozen=True)
class Show:
    port: int = 1
    host: str = "here"
    gamma: float | None = None


@dataclass(frozen=True)
class Special(Show):
    mood: str = "calm"


@dataclass(frozen=True)
class Whole:
    show: Show | None = None
    store: VFSConfig = field(default_factory=VFSConfig)
    depth: int = 0


LazyShow, LazySpecial, LazyWhole = lazy(Show), lazy(Special), lazy(Whole)

LEVELS = ("file", "global", "pipeline", "step", "environment", "call")
VALUES = {level: 10 + rank for rank, level in enumerate(LEVELS)}


# -- the table: every combination of levels that say something

CASES = [
    tuple(level for level, there in zip(LEVELS, chosen, strict=True) if there)
    for chosen in product((False, True), repeat=len(LEVELS))
]


@pytest.mark.parametrize("there", CASES, ids="+".join)
def test_the_most_specific_level_wins(there: tuple[str, ...], tmp_path: Any) -> None:
    """64 cases: each level set or not, the environment among them, through the real file and environment."""
    config = tmp_path / "config.toml"
    config.write_text(f"[show]\nport = {VALUES['file']}\n" if "file" in there else "")
    environ = {"OPENHCS_CONFIG": str(config)}
    if "environment" in there:
        environ["TEST_SHOW_PORT"] = str(VALUES["environment"])
    said = {level: LazyShow(port=VALUES[level]) for level in there if level not in ("file", "environment")}
    found = effective(
        Show,
        global_config=said.get("global"),
        pipeline=said.get("pipeline"),
        step=said.get("step"),
        call=said.get("call"),
        environ=environ,
    )
    winner = there[-1] if there else "default"
    assert found.value == Show(port=VALUES.get(winner, 1))
    assert found.origin("port").level == winner
    assert found.origin("host") == DEFAULT
    (line,) = [line for line in found.explain() if line.field == "port"]
    assert [each.origin.level for each in (line, *line.shadowed)] == [*reversed(there), "default"]
    assert [each.value for each in line.shadowed] == [*(VALUES[each] for each in reversed(there[:-1])), 1][
        : len(there)
    ]


@pytest.mark.parametrize(
    ("above", "below", "port", "host", "from_port"),
    [
        (LazyShow(port=2), LazyShow(host="there"), 2, "there", "step"),
        (LazyShow(), LazyShow(port=3), 3, "here", "pipeline"),
        (None, LazyShow(port=3), 3, "here", "pipeline"),
        (Show(), LazyShow(port=3, host="there"), 1, "here", "step"),  # a complete one says everything
        ({"port": 2}, Show(host="there"), 2, "there", "step"),
        ({"port": None}, {"port": 4}, 4, "here", "pipeline"),
        (Special(port=5), LazyShow(port=3), 5, "here", "step"),  # of a class below: its common fields
    ],
)
def test_what_counts_as_said(above: Any, below: Any, port: int, host: str, from_port: str) -> None:
    found = resolve(Show, ("pipeline", below), ("step", above))
    assert (found.value.port, found.value.host) == (port, host)
    assert found.origin("port") == Origin(from_port)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((), None),
        ((LazyWhole(show=LazyShow(port=2)),), Show(port=2)),
        ((LazyWhole(show=Show(port=2, host="a")), LazyWhole(show=LazyShow(port=3))), Show(3, "a")),
        ((LazyWhole(show=LazyShow(port=2)), LazyWhole()), Show(port=2)),
        ((LazyWhole(show=LazyShow(port=2)), LazyWhole(show=NONE)), None),
        ((LazyWhole(show=LazyShow(port=2)), Whole()), None),  # a complete one without any says: none
        # Turned off above and on again: what was said of it stays said.
        ((LazyWhole(show=LazyShow(port=2)), LazyWhole(show=NONE), LazyWhole(show=LazyShow(host="b"))), Show(2, "b")),
        (({"show": {"port": 7}},), Show(port=7)),
        ((LazyWhole(show=Special(mood="wild")), LazyWhole(show=LazyShow(port=3))), Special(3, mood="wild")),
        ((LazyWhole(show=Show(port=2)), LazyWhole(show=LazySpecial(mood="odd"))), Special(2, mood="odd")),
    ],
)  # fmt: skip
def test_nested_configurations_inherit_field_by_field(levels: tuple[Any, ...], expected: Show | None) -> None:
    found = resolve(Whole, *((str(at), level) for at, level in enumerate(levels)))
    assert found.value.show == expected
    assert type(found.value.show) is type(expected)


def test_the_explanation_names_each_value_its_source_and_what_it_hides() -> None:
    found = resolve(
        Whole,
        ("global", LazyWhole(show=LazyShow(port=2, host="there"))),
        ("step", LazyWhole(show=LazyShow(port=3))),
    )
    lines = {line.field: line for line in found.explain()}
    assert list(lines) == [
        "show", "show.port", "show.host", "show.gamma", "store", "store.materialization_backend", "depth"
    ]  # fmt: skip
    assert lines["show.port"].value == 3
    assert lines["show.port"].origin == Origin("step")
    assert lines["show.port"].shadowed == (Setting(2, Origin("global")), Setting(1, DEFAULT))
    assert lines["show.host"].shadowed == (Setting("here", DEFAULT),)
    assert lines["show"].value is Show
    assert found.origin("show.port") == Origin("step")
    assert str(Origin("environment", "X")) == "environment X"
    with pytest.raises(SettingsError, match=r"no field 'show\.prot' \(known: show"):
        found.origin("show.prot")


def test_what_is_not_there_has_no_lines() -> None:
    lines = resolve(Whole, ("global", LazyWhole(show=LazyShow(port=2))), ("step", {"show": NONE})).explain()
    assert [line.field for line in lines if line.field.startswith("show")] == ["show"]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"prot": 3}, r"step: Show has no 'prot' \(known: port, host, gamma\)"),
        (VFSConfig(), r"step: VFSConfig\(.*\) is no Show"),
        (LazyVFSConfig(), r"step: LazyVFSConfig\(\) is no Show"),
        (3, "step: 3 is no Show"),
        (object(), "step: <object object at .*> is no Show"),
        (Show, "step: <class .*Show'> is no Show"),
    ],
)
def test_what_cannot_be_said(said: Any, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        resolve(Show, ("step", said))


def test_what_only_a_class_below_has_is_left_out() -> None:
    found = resolve(Show, ("step", Special(port=5, mood="wild")))
    assert found.value == Show(port=5)
    assert list(found.settings) == ["port", "host", "gamma"]


def test_a_field_without_default_must_be_said_somewhere() -> None:
    @dataclass(frozen=True)
    class Needy:
        name: str
        size: int = 1

    assert resolve(Needy, ("step", lazy(Needy)(name="a"))).value == Needy("a")
    with pytest.raises(SettingsError, match=r"Needy\.name has no default"):
        resolve(Needy, ("step", {"size": 2}))


def test_two_levels_that_want_unrelated_classes_are_named() -> None:
    @dataclass(frozen=True)
    class Other(Show):
        pass

    with pytest.raises(SettingsError, match="show: global wants a Other, others a Special"):
        resolve(Whole, ("global", {"show": Other()}), ("step", {"show": Special()}))


# -- the algebra


def shows() -> st.SearchStrategy[Any]:
    ports, hosts = st.none() | st.integers(1, 3), st.none() | st.sampled_from("ab")
    gammas = st.none() | st.just(NONE) | st.sampled_from([1.0, 2.0])
    said = st.builds(LazyShow, port=ports, host=hosts, gamma=gammas)
    return said | st.builds(Show, port=st.integers(1, 3)) | st.builds(LazySpecial, mood=st.sampled_from("xy"))


def wholes() -> st.SearchStrategy[Any]:
    stores = st.none() | st.builds(LazyVFSConfig, st.none() | st.sampled_from(Backend))
    return (
        st.none()
        | st.builds(LazyWhole, show=st.none() | st.just(NONE) | shows(), store=stores)
        | st.builds(Whole, show=st.none() | st.builds(Show))
    )


def partials() -> st.SearchStrategy[Any]:
    origins = st.sampled_from(LEVELS).map(Origin)
    return st.lists(
        st.builds(lambda one, origin: partial(Whole, one, origin), wholes(), origins), max_size=3
    ).map(lambda some: reduce(overlay, some, {}))


@given(partials(), partials(), partials())
def test_it_does_not_matter_which_levels_are_put_together_first(a: Any, b: Any, c: Any) -> None:
    assert overlay(overlay(a, b), c) == overlay(a, overlay(b, c))


@given(partials())
def test_saying_the_same_twice_or_nothing_changes_nothing(a: Any) -> None:
    assert overlay(a, a) == overlay({}, a) == overlay(a, {}) == a


@given(partials(), partials())
def test_what_the_weaker_says_is_heard_only_where_the_stronger_is_silent(a: Any, b: Any) -> None:
    both = overlay(a, b)
    assert both.keys() == a.keys() | b.keys()
    for name, stack in both.items():
        assert stack[0] == (b.get(name) or a[name])[0]


@given(partials())
def test_a_resolved_configuration_resolves_to_itself(a: Any) -> None:
    value = fill(Whole, a).value
    again = resolve(Whole, ("call", value))
    assert again.value == value
    assert all(line.origin == Origin("call") for line in again.explain())
    assert resolve(Whole, ("global", value), ("step", LazyWhole())).value == value


@given(st.lists(shows(), max_size=4))
def test_the_value_is_that_of_the_last_level_that_says_one(levels: list[Any]) -> None:
    found = resolve(Show, *((str(at), level) for at, level in enumerate(levels))).value
    for name, default in (("port", 1), ("host", "here"), ("gamma", None)):
        said = [
            getattr(level, name)
            for level in levels
            if isinstance(level, Show) or getattr(level, name) is not None
        ]
        expected = said[-1] if said else default
        assert getattr(found, name) == (None if expected is NONE else expected)


# -- other threads and processes


def test_spawned_processes_resolve_to_the_same() -> None:
    levels = (("global", LazyVFSConfig("zarr")), ("step", LazyVFSConfig()))  # type: ignore[arg-type]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(resolve, VFSConfig, *levels).result(timeout=60)
        assert found == resolve(VFSConfig, *levels)
        assert found.value.materialization_backend is Backend.ZARR
        assert pool.submit(LazyVFSConfig().resolve, VFSConfig(Backend.MEMORY)).result(
            timeout=60
        ) == VFSConfig(Backend.MEMORY)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # that is what is tested
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_resolves_while_its_parents_threads_do() -> None:
    """No lock is held that a fork could inherit: the children end, every time."""
    with ThreadPoolExecutor(4) as pool:
        busy = [
            pool.submit(resolve, Whole, *[(str(at), LazyWhole(depth=at)) for at in range(200)])
            for _ in range(8)
        ]
        for _ in range(5):
            process = multiprocessing.get_context("fork").Process(target=_resolve_a_new_class)
            process.start()
            process.join(30)
            assert process.exitcode == 0
        assert {each.result().value.depth for each in busy} == {199}


def _resolve_a_new_class() -> None:
    @dataclass(frozen=True)
    class New:
        a: int = 1

    assert resolve(New, ("call", lazy(New)(a=2))).value == New(2)


def test_threads_with_configurations_of_their_own_do_not_see_each_other() -> None:
    def work(port: int) -> set[int]:
        return {
            resolve(Show, ("global", Show(port=port)), ("step", LazyShow())).value.port for _ in range(200)
        }

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(1, 9))) == [{port} for port in range(1, 9)]
