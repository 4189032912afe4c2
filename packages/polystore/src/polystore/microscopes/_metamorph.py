"""The metadata MetaXpress writes into each of its TIFFs: MetaMorph's XML in the ImageDescription."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from polystore.microscopes._tiff_header import read_header
from polystore.microscopes._xml import Record, read_records

__all__ = ["MetaMorphPlane", "read_plane"]

_EXPOSURE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(us|µs|ms|msec|s|sec)\s*", re.IGNORECASE)
_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "msec": 1.0, "s": 1e3, "sec": 1e3}
_MICROMETRES = {"um": 1.0, "µm": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "mm": 1e3}


@dataclass(frozen=True, slots=True)
class MetaMorphPlane:
    """What one TIFF of MetaXpress says of itself; None where it is silent.

    Parameters
    ----------
    name
        Of the image: ``"FITC_05-2"``.
    setting
        Of the illumination, which several channels may share: ``"FITC_05"``.
    emission_nm, exposure_ms, pixel_um, z_um, z_step_um
        As the names say; the pixel as height, width. The step is that of the stack a projection was made of.
    position_um
        y, x of the stage; y grows downwards in the image.
    time
        When it was acquired.
    instrument
        Name and version of the software.
    """

    name: str | None = None
    setting: str | None = None
    emission_nm: float | None = None
    exposure_ms: float | None = None
    pixel_um: tuple[float, float] | None = None
    z_um: float | None = None
    z_step_um: float | None = None
    position_um: tuple[float, float] | None = None
    time: datetime | None = None
    instrument: str | None = None


def read_plane(stream: BinaryIO, path: str) -> MetaMorphPlane:
    """What a TIFF says; all None when it is of another software.

    Raises
    ------
    CorruptFileError
        No TIFF, cut off, or with broken XML.
    """
    description = read_header(stream, path).description
    if b"<MetaData" not in description[:200]:
        return MetaMorphPlane()
    found: dict[str, Record] = {}

    def take(record: Record) -> None:
        found.setdefault(record.attributes.get("id", ""), record)

    # MetaXpress declares no encoding and writes the one of Windows, e.g. for the micro sign.
    text = description.decode("utf-8") if _is_utf8(description) else description.decode("cp1252", "replace")
    read_records(io.BytesIO(text.encode()), f"{path} (ImageDescription)", ("prop", "custom-prop"), take)

    def number(name: str) -> float | None:
        return found[name].number("value") if name in found else None

    def word(name: str) -> str | None:
        return (found[name].attributes.get("value", "").strip() or None) if name in found else None

    unit = _MICROMETRES.get((word("spatial-calibration-units") or "").lower())
    height, width = number("spatial-calibration-y"), number("spatial-calibration-x")
    calibrated = word("spatial-calibration-state") != "off" and unit is not None
    y, x = number("stage-position-y"), number("stage-position-x")
    version = word("ApplicationVersion")
    return MetaMorphPlane(
        name=word("image-name"),
        setting=word("_IllumSetting_"),
        emission_nm=number("wavelength") or None,
        exposure_ms=_exposure(word("Exposure Time")),
        pixel_um=(height * unit, width * unit) if calibrated and unit and height and width else None,
        z_um=number("z-position"),
        z_step_um=number("Z Projection Step Size"),
        position_um=(y, x) if y is not None and x is not None else None,
        time=_time(word("acquisition-time-local")),
        instrument=f"MetaXpress {version}" if version else "MetaXpress",
    )


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _exposure(text: str | None) -> float | None:
    match = _EXPOSURE.fullmatch(text or "")
    return float(match[1]) * _MILLISECONDS[match[2].lower()] if match else None


def _time(text: str | None) -> datetime | None:
    for form in ("%Y%m%d %H:%M:%S.%f", "%Y%m%d %H:%M:%S"):
        try:
            return datetime.strptime(text or "", form)
        except ValueError:
            continue
    return None
