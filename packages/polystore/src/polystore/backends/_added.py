"""Components that a laboratory added: an image's key has no place for them, its layer's name has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polystore.components import ALIASES

__all__ = ["split_added"]


def split_added(components: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The components a key understands, and what the others add to the name of the layer: ``Rotation_003``.

    Images that differ in an added component only would otherwise be one image, each replacing the one before. Those
    of `polystore.constants.component_names` are added ones; a name that nobody knows stays, and the key refuses it.
    """
    unknown = [name for name in components if name not in ALIASES]
    if not unknown:
        return components, ""
    from polystore.constants import component_names

    added = [name for name in component_names() if name in unknown]
    words = [_word(name, components[name]) for name in added if components[name] is not None]
    return {name: value for name, value in components.items() if name not in added}, "_".join(words)


def _word(name: str, value: Any) -> str:
    shown = f"{value:03d}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{name.capitalize()}_{shown}"
