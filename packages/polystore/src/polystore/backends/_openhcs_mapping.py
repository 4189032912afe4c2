"""The mapping that OpenHCS keeps in ``openhcs_metadata.json``: names to files, both relative to the plate."""

from __future__ import annotations

import msgspec

from polystore.backends._workspace_file import FileRef, Mapped, Source, check_mapped, check_relative
from polystore.errors import CorruptFileError, StorageError

__all__ = ["decode_openhcs"]


class _Part(msgspec.Struct, frozen=True):
    workspace_mapping: dict[str, str] | None = None


class _Metadata(msgspec.Struct, frozen=True):
    subdirectories: dict[str, _Part] | None = None
    workspace_mapping: dict[str, str] | None = None


# Made here, once: msgspec makes its tables of a class when they are first used, and two threads at once crash it.
_decode = msgspec.json.Decoder(_Metadata).decode


def decode_openhcs(data: bytes, where: str) -> Mapped:
    """The mappings of all folders of a plate as one; raises as `polystore.backends._workspace_file.decode`."""
    try:
        document = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CorruptFileError(f"{where} holds no mapping: {exc}") from exc
    files: dict[str, FileRef] = {}
    parts = [
        document.workspace_mapping,
        *(part.workspace_mapping for part in (document.subdirectories or {}).values()),
    ]
    try:
        for mapping in parts:
            for name, path in (mapping or {}).items():
                files[check_relative(name)] = FileRef("plate", check_relative(path))
        mapped = Mapped({"plate": Source(".")}, files)
        check_mapped(mapped)
    except StorageError as exc:
        raise type(exc)(f"{where}: {exc}") from exc
    return mapped
