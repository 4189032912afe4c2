"""Configurations given to a streaming backend: complete ones as they are, lazy ones filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from polystore.backends._stream_config import complete, display_spec
from polystore.backends.napari_stream import NapariStreamingBackend
from polystore.config import LazyVFSConfig
from polystore.config_sources import section
from polystore.errors import SettingsError
from polystore.inheritance import lazy
from polystore.projection import DisplaySpec
from zmqruntime.config import Endpoint


@dataclass(frozen=True)
class Look:
    colormap: str = "gray"
    follow: bool = False

    def display_spec(self) -> DisplaySpec:
        return DisplaySpec(colormap=self.colormap, follow=self.follow)


@section("streamtest", "TEST_STREAM")
@dataclass(frozen=True)
class Stream(Look):
    port: int = 5600

    def endpoint(self) -> Endpoint:
        return Endpoint(data_port=self.port)


LazyLook, LazyStream = lazy(Look), lazy(Stream)


@pytest.mark.parametrize(
    ("config", "above", "expected"),
    [
        (None, None, None),
        (None, Stream(port=1), Stream(port=1)),
        (Stream(port=2), Stream("fire"), Stream(port=2)),  # a complete one says everything
        (LazyStream(port=2), Stream("fire"), Stream("fire", port=2)),
        (LazyStream(port=2), LazyStream("fire"), Stream("fire", port=2)),
        (None, LazyStream("fire"), Stream("fire")),
        (LazyStream("fire"), None, Stream("fire")),
        (LazyLook(follow=True), Stream("fire", port=2), Stream("fire", follow=True, port=2)),
        (LazyStream(port=2), Look("fire"), Stream("fire", port=2)),
        (LazyStream(port=2), DisplaySpec("fire"), Stream(port=2)),  # a spec has no such fields
    ],
)
def test_what_a_batch_does_not_say_its_backend_says(config: Any, above: Any, expected: Any) -> None:
    found = complete(config, above)
    assert found == expected
    assert type(found) is type(expected)


def test_the_environment_fills_in_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_STREAM_PORT", "5700")
    backend = NapariStreamingBackend(config=LazyStream("fire"))
    assert backend.endpoint_for(config=LazyStream()) == Endpoint(data_port=5700)
    assert backend.endpoint_for(config=LazyStream(port=5800)) == Endpoint(data_port=5800)
    assert complete(LazyStream(), Stream(port=1)).port == 5700
    assert complete(Stream(port=1)).port == 1  # complete, and an argument of the call


def test_unrelated_configurations_are_refused() -> None:
    with pytest.raises(SettingsError, match="is no Stream"):
        complete(LazyVFSConfig(), Stream())
    with pytest.raises(TypeError, match="says nothing about a display"):
        display_spec(complete(LazyVFSConfig()))


class Sender:
    """In the place of the process-wide one."""

    def __init__(self) -> None:
        self.displays: list[DisplaySpec] = []

    def send(self, items: Any, context: Any, **options: Any) -> None:
        self.displays.append(context.display)


@pytest.mark.parametrize("replaces", [False, True])
def test_every_batch_of_a_backend_that_replaces_layers_does(
    replaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = Sender()
    monkeypatch.setattr(NapariStreamingBackend, "_sender", lambda *arguments: sender)
    backend = NapariStreamingBackend(config=Stream("fire"), replace_layers=replaces)
    for config in (None, LazyLook(follow=True), Look("bop blue")):
        backend.save_batch([np.zeros((4, 4), np.uint8)], ["A01_s1_w1.tif"], config=config)
    assert sender.displays == [
        DisplaySpec("fire", replace_layers=replaces),
        DisplaySpec("fire", follow=True, replace_layers=replaces),
        DisplaySpec("bop blue", replace_layers=replaces),
    ]
