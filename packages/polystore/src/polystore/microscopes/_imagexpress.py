"""What the files of an ImageXpress plate say: the HTD read once, and as few TIFF headers as will do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice

from polystore.components import ImageKey, Value
from polystore.microscopes._files import PlateFiles
from polystore.microscopes._htd import HtdFile, read_htd
from polystore.microscopes._listing import complete_grid
from polystore.microscopes._metamorph import MetaMorphPlane, read_plane
from polystore.microscopes._positions import Positions
from polystore.plate import ChannelInfo, PlaneRef, PlateInfo

__all__ = ["expected_keys", "latest", "read_info"]

TRIES = 3
"""Headers tried before a channel's is given up: files may be broken, a plate must be listed all the same."""

COMPARED = 16
"""Files for one plane whose headers are compared; of more the first by name counts."""


def read_info(files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
    """What a plate's HTD and TIFFs say.

    One TIFF is opened for each channel, up to two more for the z step and one for the time step. Positions are
    read when they are asked for, from one TIFF of each field.
    """
    htd = _htd(files) or HtdFile()
    by_channel: dict[Value | None, list[PlaneRef]] = {}
    for plane in planes:
        by_channel.setdefault(plane.key.channel, []).append(plane)
    seen = {channel: _first(files, there) for channel, there in by_channel.items()}
    known = [header for header in seen.values() if header is not None]
    times = [header.time for header in known if header.time is not None]
    return PlateInfo(
        name=files.plate_name,
        rows=htd.rows,
        columns=htd.columns,
        pixel_size_um=next((header.pixel_um for header in known if header.pixel_um), None),
        z_step_um=_z_step(files, planes, known),
        t_step_s=_t_step(files, planes),
        channels=_channels(seen, htd),
        positions_um=Positions.of(files, planes, read_position),
        acquired=min(times).isoformat() if times else None,
        instrument=next((header.instrument for header in known if header.instrument), None),
    )


def read_position(files: PlateFiles, path: str) -> tuple[float, float] | None:
    """The stage position in one TIFF, None when it has none or cannot be read."""
    header = files.read(path, read_plane)
    return header.position_um if header is not None else None


def expected_keys(files: PlateFiles, planes: Sequence[PlaneRef]) -> Sequence[ImageKey] | None:
    """With an HTD the planes of all wells and sites it selects, else None."""
    htd = _htd(files)
    if htd is None or not htd.wells:
        return None
    keys = {plane.key for plane in planes}
    sites: set[Value | None] = {key.field for key in keys}
    if None not in sites and htd.sites is not None:
        sites |= set(range(1, htd.sites + 1))
    return complete_grid(keys, ((well, site) for well in htd.wells for site in sites))


def latest(files: PlateFiles, paths: Sequence[str]) -> str:
    """The file acquired last by its own account, else the first."""
    if len(paths) > COMPARED:
        return paths[0]
    times: list[tuple[datetime, str]] = []
    for path in paths:
        header = files.read(path, read_plane)
        if header is not None and header.time is not None:
            times.append((header.time, path))
    return max(times)[1] if times else paths[0]


def _htd(files: PlateFiles) -> HtdFile | None:
    """The plate's HTD file; the first when there are several."""
    paths = files.find(".htd")
    return files.read(paths[0], read_htd) if paths else None


def _first(files: PlateFiles, planes: Iterable[PlaneRef]) -> MetaMorphPlane | None:
    """The header of the first plane that can be read, of the first few."""
    for plane in islice(planes, TRIES):
        header = files.read(plane.path, read_plane)
        if header is not None:
            return header
    return None


def _channels(seen: dict[Value | None, MetaMorphPlane | None], htd: HtdFile) -> dict[Value, ChannelInfo]:
    settings = [header.setting for header in seen.values() if header is not None]
    channels = {}
    for channel, header in seen.items():
        if channel is None:  # a plate with one wavelength has no _w in its names
            continue
        name = htd.wave_names.get(channel)
        if header is None:
            channels[channel] = ChannelInfo(name)
            continue
        # Channels that share an illumination setting are told apart by the names of their images.
        own = header.setting if settings.count(header.setting) == 1 else header.name
        channels[channel] = ChannelInfo(
            name or own, emission_nm=header.emission_nm, exposure_ms=header.exposure_ms
        )
    return channels


def _z_step(files: PlateFiles, planes: Sequence[PlaneRef], known: Sequence[MetaMorphPlane]) -> float | None:
    """The step projections state, else from the positions of the two ends of one stack."""
    ends = _ends(planes, lambda key: key.z, lambda key: key.replace(z=None))
    if ends is None:
        return None
    stated = [header.z_step_um for header in known if header.z_step_um]
    if stated:
        return stated[0]
    first, last, steps = ends
    one, other = files.read(first.path, read_plane), files.read(last.path, read_plane)
    if one is None or other is None or one.z_um is None or other.z_um is None:
        return None
    return round(abs(other.z_um - one.z_um) / steps, 4) or None


def _t_step(files: PlateFiles, planes: Sequence[PlaneRef]) -> float | None:
    """From the times of the first and the last plane of one place."""
    ends = _ends(planes, lambda key: key.t, lambda key: key.replace(t=None))
    if ends is None:
        return None
    first, last, steps = ends
    one, other = files.read(first.path, read_plane), files.read(last.path, read_plane)
    if one is None or other is None or one.time is None or other.time is None:
        return None
    return round((other.time - one.time).total_seconds() / steps, 3) or None


def _ends(
    planes: Sequence[PlaneRef],
    value: Callable[[ImageKey], Value | None],
    place: Callable[[ImageKey], ImageKey],
) -> tuple[PlaneRef, PlaneRef, int] | None:
    """First and last plane of the first series along one component, and the steps between them."""
    first = next((plane for plane in planes if isinstance(value(plane.key), int)), None)
    if first is None:
        return None
    here = place(first.key)
    # Planes of one place stand near each other; a few thousand are enough for any series.
    start = planes.index(first)
    series = [
        plane
        for plane in planes[start : start + 4096]
        if isinstance(value(plane.key), int) and place(plane.key) == here
    ]
    low, high = value(series[0].key), value(series[-1].key)
    if not isinstance(low, int) or not isinstance(high, int) or high <= low:
        return None
    return series[0], series[-1], high - low
