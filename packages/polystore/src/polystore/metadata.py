"""JSON documents that several processes read and change at once: `read_json`, `update_json`, `merge_json`.

A document is a path of the file system, a url (``s3://bucket/plate.json``), or a key of an
`polystore.objects.ObjectStore` that is passed beside it. A change reads, changes and writes in one step as
seen by every other process; a crash at any moment leaves the old document or the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from polystore._paths import StrPath, check_path
from polystore.errors import CorruptFileError, MergeConflictError, NotFoundError, UnsupportedFormatError
from polystore.objects import ObjectStore, open_objects

__all__ = ["merge_json", "merged", "read_json", "update_json"]

_MISSING: Any = object()


def read_json(path: StrPath, default: Any = _MISSING, *, store: ObjectStore | None = None) -> Any:
    """The value of a document.

    Parameters
    ----------
    path
        Path, url, or key of the store.
    default
        What a document that is not there reads as; without it, that is an error.
    store
        Where ``path`` is a key.

    Raises
    ------
    NotFoundError
        There is no such document, and no ``default``.
    CorruptFileError
        It is no JSON.
    """
    objects, key = _place(path, store)
    try:
        data = objects.get(key).data
    except NotFoundError:
        if default is _MISSING:
            raise
        return default
    return _decoded(data, path)


def update_json(
    path: StrPath, change: Callable[[Any], Any], default: Any = None, *, store: ObjectStore | None = None
) -> Any:
    """Change a document in one step, and return what stands there now.

    Parameters
    ----------
    path
        Path, url, or key of the store; made if it is not there.
    change
        Is given the value (``default`` where there is no document) and returns the new one; it may change the
        one it is given. It may be called more than once, each time with a value of its own, and must do
        nothing else.
    default
        What a document that is not there reads as.
    store
        Where ``path`` is a key.

    Raises
    ------
    CorruptFileError
        What is there is no JSON; it is left as it is.
    UnsupportedFormatError
        What ``change`` returned is no JSON; the document is left as it is.
    StorageError
        It could not be stored; the text says why.
    """
    objects, key = _place(path, store)
    result: Any = None

    def rewrite(old: bytes | None) -> bytes:
        nonlocal result
        result = change(_copied(default) if old is None else _decoded(old, path))
        return _encoded(result, path)

    objects.update(key, rewrite)
    return result


def merge_json(
    path: StrPath, changes: Mapping[str, Any], *, strict: bool = False, store: ObjectStore | None = None
) -> Any:
    """Merge a mapping into a document (see `merged`) in one step, and return what stands there now.

    Two processes that merge different keys both find theirs there afterwards.

    Parameters
    ----------
    path
        Path, url, or key of the store; made if it is not there.
    changes
        What shall stand there besides what does.
    strict
        Whether a value may only be replaced by one of its kind.
    store
        Where ``path`` is a key.

    Raises
    ------
    MergeConflictError
        The document is no mapping; or, with ``strict``, a value has another kind than the one it would replace.
    CorruptFileError, UnsupportedFormatError, StorageError
        As `update_json`.
    """

    def change(old: Any) -> Any:
        if not isinstance(old, dict):
            raise MergeConflictError(f"{path!s} holds {_kind(old)}; only an object can be merged into")
        return merged(old, changes, strict=strict)

    return update_json(path, change, {}, store=store)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any], *, strict: bool = False) -> dict[str, Any]:
    """A new mapping: ``changes`` over ``base``. Mappings are merged key by key, all else is replaced.

    Lists are replaced, too: two that grew from one cannot be told from two that differ.

    Raises
    ------
    MergeConflictError
        With ``strict``: a value has another kind (null, boolean, number, text, array, object) than the one it
        would replace. Null replaces and is replaced by all. The text says where.
    """
    return _merged(base, changes, strict, "")


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any], strict: bool, where: str) -> dict[str, Any]:
    result = dict(base)
    for name, new in changes.items():
        place = f"{where}/{name}"
        old = result.get(name)
        if strict and old is not None and new is not None and _kind(old) != _kind(new):
            raise MergeConflictError(
                f"{place} is {_kind(old)} and would become {_kind(new)}; delete it first, or merge without strict=True"
            )
        both = isinstance(old, Mapping) and isinstance(new, Mapping)
        result[name] = _merged(old, new, strict, place) if both else new  # type: ignore[arg-type]
    return result


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "an object"
    return "an array" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _place(path: StrPath, store: ObjectStore | None) -> tuple[ObjectStore, str]:
    text = check_path(path)
    if store is not None:
        return store, text
    text = text.replace(os.sep, "/")
    folder, slash, name = text.rpartition("/")
    return open_objects(folder + slash if slash else "."), name


def _decoded(data: bytes, path: StrPath) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as exc:
        raise CorruptFileError(f"{path!s} is no JSON: {exc}") from exc


def _encoded(value: Any, path: StrPath) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=2)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise UnsupportedFormatError(
            f"cannot write {path!s}: {type(value).__name__} is no JSON: {exc}"
        ) from exc


def _copied(value: Any) -> Any:
    return value if value is None else msgspec.json.decode(msgspec.json.encode(value))
