"""Images of labels: to regions and back, measured, merged, renumbered, described for OME-Zarr.

A labels image is an array of integers whose last two axes are y and x: 0 is background, every other value is
one object (in all its planes). All of it works on runs of equal pixels, so it takes two passes over the
image and then time in proportion to the objects' edges, whatever their number and however large their labels.
"""

from __future__ import annotations

from polystore.labels._connect import label_connected
from polystore.labels._edit import merge_labels, relabel_sequential
from polystore.labels._extract import labels_to_rois
from polystore.labels._measure import LabelTable, measure_labels
from polystore.labels._omezarr import image_label, label_colors, label_properties, read_image_label
from polystore.labels._paint import rois_to_labels

__all__ = [
    "LabelTable",
    "image_label",
    "label_colors",
    "label_connected",
    "label_properties",
    "labels_to_rois",
    "measure_labels",
    "merge_labels",
    "read_image_label",
    "relabel_sequential",
    "rois_to_labels",
]
