from __future__ import annotations

import pytest

from polystore.config import Settings, SettingsError, VFSConfig, parse_size
from polystore.constants import Backend


def test_backends_are_their_names() -> None:
    assert Backend.OMERO_LOCAL == "omero_local"
    assert f"{Backend.DISK}" == "disk"
    stores = {"memory", "disk", "zarr", "cloud", "virtual_workspace", "omero_local"}
    assert set(Backend) == stores | {"napari_stream", "fiji_stream"}


def test_where_results_are_kept() -> None:
    assert VFSConfig().materialization_backend is Backend.DISK
    assert VFSConfig("zarr").materialization_backend is Backend.ZARR  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"'tape'.*known: memory, disk"):
        VFSConfig("tape")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("65536", 65536),
        ("64MiB", 64 << 20),
        ("64 M", 64 << 20),
        ("64MB", 64_000_000),
        ("1g", 1 << 30),
        ("2kib", 2048),
        ("0", 0),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "many", "-1", "1.5G", "64 MiB extra", "1e6"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(SettingsError, match="64MiB"):
        parse_size(text)


def test_the_environment() -> None:
    environment = {
        "POLYSTORE_ARENA_BYTES": "16MiB", "POLYSTORE_RUN": "r1", "POLYSTORE_DURABLE": "1",
        "POLYSTORE_QUEUE_BYTES": "", "POLYSTORE_OTHER": "x",
    }  # fmt: skip
    assert Settings.from_env(environment) == Settings(arena_bytes=16 << 20, run="r1", durable=True)
    assert Settings.from_env({}) == Settings()
    with pytest.raises(SettingsError, match="POLYSTORE_MAX_IMAGE_BYTES: 'huge'"):
        Settings.from_env({"POLYSTORE_MAX_IMAGE_BYTES": "huge"})
    with pytest.raises(SettingsError, match="POLYSTORE_DURABLE"):
        Settings.from_env({"POLYSTORE_DURABLE": "perhaps"})


def test_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSTORE_QUEUE_BYTES", "1M")
    assert Settings.from_env().queue_bytes == 1 << 20
