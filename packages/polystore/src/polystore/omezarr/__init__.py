"""OME-Zarr plates: images by virtual name in the groups and arrays of the OME-NGFF specification.

* `names`      a virtual path to where it lies, and back
* `grouping`   the attributes of a group, in Zarr 2 and 3
* `ngff`       what the specification puts there; `blocks` what we put there besides
* `arrays`     metadata of arrays, keys of chunks; `engines` encodes and decodes chunks
* `series`     the array of a field and what its indices mean
* `images`     one image group: its planes in and out; `singles` images that are no plane of a plate
* `plates`     rows, wells and fields; `foreign` plates written by others
* `pyramids`   smaller copies

Bytes go through `polystore.objects.ObjectStore`: a chunk and a metadata file are each replaced in one step,
and no lock is taken for pixels. `polystore.backends.zarr.ZarrBackend` puts it together.
"""

from __future__ import annotations
