"""Classes that register themselves when they are defined."""

from __future__ import annotations

from typing import Any, ClassVar

from polystore.registry import Plugin, Registry

__all__ = ["RegistersBackend", "is_abstract", "register_subclass"]


def register_subclass(cls: type[Any], registry: Registry[Any], key: str = "_microscope_type") -> None:
    """Register a class under the name it gives itself. For the ``__init_subclass__`` of a base class.

    A class that does not set ``key`` itself (it may inherit it) or that is abstract is left alone. One that is
    defined again (a cell run twice, a reloaded module) replaces itself; one that an entry point or the table
    of built-ins declares under the same name is that plugin, and stays it.

    Raises
    ------
    BackendClashError
        The name stands for another class already.
    """
    name = vars(cls).get(key)
    if not name or is_abstract(cls):
        return
    plugin = Plugin(str(name), cls, f"defined in {cls.__module__}")
    taken = registry._find(plugin.name)
    if taken is None:
        registry._put(plugin, replace=False)
    elif isinstance(taken.target, str) and (plugin.name in registry._loading or _declares(taken.target, cls)):
        registry._changed(taken)
    else:
        registry._put(plugin, replace=_is_redefined(taken.target, cls))


def is_abstract(cls: type[Any]) -> bool:
    """Whether a class has abstract methods, also while it is still being made.

    `inspect.isabstract` only knows once the class statement is done, and ``__init_subclass__`` runs before.
    """
    names = {name for base in cls.__bases__ for name in getattr(base, "__abstractmethods__", ())}
    return any(
        getattr(getattr(cls, name, None), "__isabstractmethod__", False) for name in names.union(vars(cls))
    )


def _declares(target: str, cls: type[Any]) -> bool:
    """Whether ``"package:Class"`` is that class, which may stand in another module of the package."""
    module, _, qualname = target.partition(":")
    return qualname == cls.__qualname__ and module.partition(".")[0] == cls.__module__.partition(".")[0]


def _is_redefined(old: Any, cls: type[Any]) -> bool:
    """Whether a class is the same class statement, run again (or a second time, as the main script)."""
    if isinstance(old, str):
        module, _, qualname = old.partition(":")
    else:
        module, qualname = getattr(old, "__module__", ""), getattr(old, "__qualname__", "")
    main = {"__main__", "__mp_main__"} & {module, cls.__module__}
    return qualname == cls.__qualname__ and (module == cls.__module__ or bool(main))


class RegistersBackend:
    """Base of the contracts of stores and sinks: a class that says ``_backend_type = "my_store"`` is found under
    that name in `polystore.base.STORAGE_BACKENDS` as soon as it is defined."""

    _backend_type: ClassVar[str | None] = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if vars(cls).get("_backend_type"):
            from polystore.backends import BACKENDS

            register_subclass(cls, BACKENDS, "_backend_type")
