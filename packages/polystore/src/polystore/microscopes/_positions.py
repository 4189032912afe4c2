"""Positions of fields that are read from their images only when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from polystore.components import Value

if TYPE_CHECKING:
    from polystore.microscopes._files import PlateFiles
    from polystore.plate import PlaneRef

__all__ = ["Positions"]

Place: TypeAlias = tuple[Value, Value]
Point: TypeAlias = tuple[float, float]


class Positions(Mapping[Place, Point]):
    """(well, field) to y, x in micrometres. Each costs one opened file, once; picklable.

    A field whose file says nothing is left out of the iteration and is a `KeyError`.

    Parameters
    ----------
    files
        Where the images are.
    paths
        The image to ask for each field.
    reader
        ``reader(files, path)`` gives the position or None; a function of a module.
    """

    def __init__(
        self,
        files: PlateFiles,
        paths: Mapping[Place, str],
        reader: Callable[[PlateFiles, str], Point | None],
    ) -> None:
        self._files = files
        self._paths = dict(paths)
        self._reader = reader
        self._known: dict[Place, Point | None] = {}

    @classmethod
    def of(
        cls,
        files: PlateFiles,
        planes: Sequence[PlaneRef],
        reader: Callable[[PlateFiles, str], Point | None],
    ) -> Positions:
        """Those of all fields of a plate, from the first plane of each."""
        paths: dict[Place, str] = {}
        for plane in planes:
            if plane.key.well is not None and plane.key.field is not None:
                paths.setdefault((plane.key.well, plane.key.field), plane.path)
        return cls(files, paths, reader)

    def _find(self, place: Place) -> Point | None:
        if place not in self._known:
            self._known[place] = self._reader(self._files, self._paths[place])
        return self._known[place]

    def __getitem__(self, place: Place) -> Point:
        point = self._find(place)
        if point is None:
            raise KeyError(place)
        return point

    def __iter__(self) -> Iterator[Place]:
        return (place for place in self._paths if self._find(place) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return bool(self._paths)

    def __repr__(self) -> str:
        return f"<positions of {len(self._paths)} fields, read when asked for>"
