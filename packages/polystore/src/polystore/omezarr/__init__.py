"""OME-Zarr plates: images by virtual name in the groups and arrays of the OME-NGFF specification.

* `names`      a virtual path to where it lies, and back
* `grouping`   the attributes of a group, in Zarr 2 and 3
* `ngff`       what the specification puts there; `blocks` what we put there besides
* `arrays`     metadata of arrays, keys of chunks; `engines` encodes and decodes chunks
* `pixels`     chunks in and out; `pyramids` smaller copies
* `images`     one image group: where its planes lie (`axes`), and what other software sees of it (`describing`)
* `plates`     rows, wells and fields; `labels` of fields; `foreign` plates written by others
* `singles`    images that are no plane of a plate
* `writer`     planes in, a batch at a time; `reader` planes out
* `tree`       part of a store of bytes; `folder` one in the file system

Bytes go through `polystore.objects.ObjectStore`: a chunk and a metadata file are each replaced in one step,
and no lock is taken for pixels. `polystore.backends.zarr.ZarrBackend` puts it together.
"""

from __future__ import annotations
