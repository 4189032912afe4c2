"""The backend `fiji_stream`: where it goes, what it says; everything else is tested with `napari_stream`."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest

from polystore.backends import STORAGE_BACKENDS, _stream
from polystore.backends._stream import StreamBackend
from polystore.backends.fiji_stream import DEFAULT_DISPLAY, FijiStreamingBackend
from polystore.backends.napari_stream import NapariStreamingBackend
from polystore.base import StreamingBackend
from polystore.components import ImageKey
from polystore.constants import Backend
from polystore.projection import DisplaySpec
from zmqruntime.config import Endpoint


class Config:
    """Says how and where, as a streaming configuration does."""

    def display_spec(self) -> DisplaySpec:
        return DisplaySpec(colormap="Fire")

    def endpoint(self) -> Endpoint:
        return Endpoint(data_port=5606)


def test_it_is_listed_under_its_name_and_is_a_stream() -> None:
    assert STORAGE_BACKENDS[Backend.FIJI_STREAM] is FijiStreamingBackend
    assert issubclass(FijiStreamingBackend, StreamBackend)
    assert issubclass(FijiStreamingBackend, StreamingBackend)


def test_the_old_path_is_a_door() -> None:
    from polystore import fiji_stream

    assert fiji_stream.FijiStreamingBackend is FijiStreamingBackend


def test_processes_that_feed_no_viewer_do_not_list_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENHCS_SUBPROCESS_NO_GPU", "1")
    assert "fiji_stream" not in STORAGE_BACKENDS
    assert "disk" in STORAGE_BACKENDS


def test_it_goes_to_5556_unless_somebody_says_otherwise() -> None:
    backend = FijiStreamingBackend()
    assert backend.endpoint_for() == Endpoint(data_port=5556)
    assert backend.endpoint_for(config=Config()) == Endpoint(data_port=5606)
    assert backend.endpoint_for(port=5700, config=Config()) == Endpoint(data_port=5700)
    own = FijiStreamingBackend(Endpoint(data_port=5800), config=Config())
    assert own.endpoint_for(config=Config()) == Endpoint(data_port=5800)


def test_wells_and_sites_have_windows_and_the_one_plate_is_not_in_their_names() -> None:
    from polystore.projection import project_hyperstacks

    assert FijiStreamingBackend.default_display is DEFAULT_DISPLAY
    key = ImageKey.of(plate="P", acquisition=1, well="A01", site=2, channel=1, z=1)
    (plan,) = project_hyperstacks([(key, (8, 8), "uint16")], DEFAULT_DISPLAY, step_index=2, step_name="blur")
    assert plan.name == "Step_02_blur_Well_A01_Site_002"
    assert plan.size == (1, 1, 1)


def test_it_travels_to_workers() -> None:
    backend = FijiStreamingBackend(Endpoint(data_port=5800), policy="latest")
    copy = ForkingPickler.loads(bytes(ForkingPickler.dumps(backend)))
    assert type(copy) is FijiStreamingBackend
    assert copy.endpoint_for() == Endpoint(data_port=5800)


def told(
    backend: type[StreamBackend], caplog: pytest.LogCaptureFixture, array: np.ndarray, **options: Any
) -> list[str]:
    """What is logged when an array is sent twice, to nobody."""
    caplog.clear()
    _stream._told.clear()
    config = options.pop("config", None)
    for _ in range(2):
        backend(config=config, deadline=0.0).save_batch([array], ["A01_s1_w1.tif"], port=5999, **options)
    return [each.getMessage() for each in caplog.records if each.name == _stream.__name__]


@pytest.mark.parametrize("backend", [FijiStreamingBackend, NapariStreamingBackend])
def test_a_colour_picture_that_is_taken_for_a_stack_is_told_once(
    backend: type[StreamBackend], caplog: pytest.LogCaptureFixture
) -> None:
    (text,) = told(backend, caplog, np.zeros((64, 96, 3), np.uint16))
    assert "shape (64, 96, 3) and uint16 is shown as 64 planes of 96 x 3 pixels" in text
    assert told(backend, caplog, np.zeros((64, 96, 3), np.uint8)) == []
    assert told(backend, caplog, np.zeros((3, 64, 96), np.uint16)) == []


@pytest.mark.parametrize(
    ("dtype", "lost"),
    [
        ("uint32", "exact up to 16,777,216"),
        ("int64", "exact up to 16,777,216"),
        ("float64", "with 7 digits"),
        ("complex64", "absolute values"),
        ("uint8", ""),
        ("uint16", ""),
        ("int16", ""),
        ("float32", ""),
    ],
)
def test_what_pixels_lose_in_imagej_is_told_once_where_they_are_sent(
    dtype: str, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = told(FijiStreamingBackend, caplog, np.zeros((8, 8), dtype))
    assert len(found) == bool(lost)
    assert lost in "".join(found)
    if dtype == "int64":
        assert told(FijiStreamingBackend, caplog, np.zeros((8, 8), dtype), kind="labels") == []
        assert told(NapariStreamingBackend, caplog, np.zeros((8, 8), dtype)) == []


def test_a_z_step_that_cannot_be_shown_is_told(caplog: pytest.LogCaptureFixture) -> None:
    image = np.zeros((8, 8), np.uint8)
    (text,) = told(FijiStreamingBackend, caplog, image, config=DisplaySpec(z_step=1.5))
    assert "z_step=1.5 is not shown without the size of a pixel" in text
    assert told(FijiStreamingBackend, caplog, image, config=DisplaySpec(z_step=1.5, scale=(1.0, 1.0))) == []
