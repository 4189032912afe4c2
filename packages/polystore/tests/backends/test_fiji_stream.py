"""The backend `fiji_stream`: where it goes, what it says; everything else is tested with `napari_stream`."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler

import pytest

from polystore.backends import STORAGE_BACKENDS
from polystore.backends._stream import StreamBackend
from polystore.backends.fiji_stream import DEFAULT_DISPLAY, FijiStreamingBackend
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
