"""The public way to ImageJ's bytes of a region."""

from __future__ import annotations

import pytest
import roifile

from polystore.errors import CorruptFileError
from polystore.imagej_rois import roi_from_imagej, roi_to_imagej
from polystore.rois import ROI


def test_there_and_back() -> None:
    roi = ROI(
        "polygon", [[0, 0], [0, 4.5], [4, 4]], {"name": "a", "area": 2.5}, place={"z": 3, "well": "A01"}
    )
    data = roi_to_imagej(roi)
    assert roifile.ImagejRoi.frombytes(data).name == "a"
    assert roi_from_imagej(data) == roi


def test_what_is_no_region_is_refused() -> None:
    with pytest.raises(CorruptFileError):
        roi_from_imagej(b"Iout")
