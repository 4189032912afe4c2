"""What the streaming backends share: paths and arrays in, one batch on its way to a viewer.

A backend is a description that can be pickled to workers: no socket, no handle. Sockets belong to the
process-wide sender of an endpoint (`polystore.streaming.sender_for`), which all backends share.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from numbers import Real
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from polystore.abc import StreamingBackend
from polystore.backends._added import split_added
from polystore.backends._stream_config import DEFAULT_SPEC, SaysWhere, complete, display_spec
from polystore.components import ImageKey
from polystore.errors import BatchLengthError, UnsupportedArrayError
from polystore.microscopes import identify, split_suffix
from polystore.payload.arrays import as_host_array, check_array
from polystore.projection.spec import DisplaySpec
from polystore.rois import ROI, rois_to_wire
from polystore.streaming.messages import KINDS, BatchContext, StreamItem
from polystore.streaming.runs import default_run

if TYPE_CHECKING:
    from polystore.streaming.sender import ImageSender
    from zmqruntime.config import Endpoint
    from zmqruntime.stream import SendReport

logger = logging.getLogger(__name__)

DATA_SUFFIXES = frozenset({".csv", ".json", ".tsv", ".txt", ".xlsx", ".parquet"})
"""Files that hold tables and text. A table has an array's protocol too, and would be shown as a picture."""

ROI_ENDINGS = (
    ".roi.zip", "_rois.zip", "_rois.geojson", ".rois.json", ".zip", ".roi", ".geojson", ".json", ".csv",
)  # fmt: skip
"""What the names of files with regions end in, the longer ones first."""

Components = Mapping[str, Any]
PerImage = Any | Sequence[Any]


class StreamBackend(StreamingBackend):
    """Base of the backends that send to a viewer.

    Parameters
    ----------
    endpoint : zmqruntime.Endpoint or str, optional
        Where the viewer listens. Given here it outranks what a batch's `config` says, so that every
        visualizer's file manager goes to its own viewer.
    config : DisplaySpec or configuration, optional
        How images are shown, and where when there is no `endpoint`: a `DisplaySpec`, or anything with
        ``display_spec()`` and ``endpoint()`` such as ``openhcs_viewers.config.NapariStreamingConfig``. The lazy
        variant of such a class does as well: what it does not say comes from the environment, from the
        configuration files or, given with a batch, from this one; see `polystore.config_sources.effective`.
    replace_layers : bool
        True: a later run takes over the layers of the one before, whatever `config` says.
    run : str, optional
        Name of the pipeline run, see `polystore.streaming.runs.default_run`.
    policy, deadline, starting, server_key
        Of the process-wide sender, see `polystore.streaming.ImageSender`; None for its default.

    Notes
    -----
    Thread-safe; picklable. Memory of the images stays the caller's, and may change when a call returns.
    """

    default_port: ClassVar[int] = 5555
    default_display: ClassVar[DisplaySpec] = DEFAULT_SPEC

    def __init__(
        self,
        endpoint: Endpoint | str | None = None,
        *,
        config: Any = None,
        run: str = "",
        policy: str | None = None,
        deadline: float | None = None,
        starting: bool = False,
        server_key: bytes | None = None,
        replace_layers: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._config = config
        self._replace_layers = replace_layers
        self._run = run
        options = {
            "policy": policy,
            "deadline": deadline,
            "starting": starting or None,
            "server_key": server_key,
        }
        self._options = {name: value for name, value in options.items() if value is not None}
        self._strangers = 0

    def save_batch(
        self,
        data_list: Sequence[Any],
        file_paths: Sequence[str | os.PathLike[str]],
        *,
        step_index: int | None = None,
        step_name: str = "",
        components: Components | Sequence[Components] | None = None,
        host: str | None = None,
        port: int | None = None,
        transport: str | None = None,
        config: Any = None,
        run: str | None = None,
        producer: str = "",
        policy: str | None = None,
        deadline: float | None = None,
        deferred: bool = False,
        kind: str | Sequence[str] = "image",
        contrast: tuple[float, float] | Sequence[tuple[float, float] | None] | None = None,
        **unknown: Any,
    ) -> SendReport:
        """Send images to the viewer, in order; each is shown or counted, and the pipeline is not held up.

        Parameters
        ----------
        data_list : sequence
            Arrays ``(..., y, x)`` of any library, colour pictures ``(y, x, 3 or 4)`` of bytes, or lists of
            `polystore.rois.ROI`.
        file_paths : sequence of path
            One per image. Well, field, channel, z and t are read from the names; nothing is opened.
        step_index, step_name
            The pipeline's step: its layers are named after it.
        components : mapping or sequence of mappings, optional
            What is known better than from the name, for all images or for each: ``{"well": "A01"}``. An image
            with components of its own needs no name a parser knows. A component that was added in the
            configuration (`polystore.constants.component_names`) has a layer for each of its values.
        host, port, transport : optional
            Another viewer than this backend's own.
        config : optional
            How to show this batch, see the class.
        run, producer : str, optional
            The pipeline run, and who sends.
        policy, deadline, deferred : optional
            See `polystore.streaming.ImageSender.send`. Default: wait up to 1 s once per stall, then drop
            and count. ``policy="block"`` raises instead.
        kind : str or sequence of str
            ``"image"`` or ``"labels"``, for all images or for each.
        contrast : (float, float) or sequence, optional
            Display range, for all images or for each.

        Returns
        -------
        SendReport
            How many images were accepted and how many dropped.

        Raises
        ------
        BatchLengthError
            Not as many paths (components, kinds, contrasts) as images.
        UnsupportedArrayError, PayloadTooLargeError
            Something in the batch is no image: nothing of it is sent.
        zmqruntime.errors.SendTimeout
            Policy ``block`` and no viewer took an image within the deadline.
        TypeError
            An option no viewer knows.
        """
        if unknown:
            raise TypeError(
                f"a viewer knows no option {', '.join(map(repr, unknown))}; see the documentation of save_batch"
            )
        count = len(data_list)
        each_components = _each("components", components, count, Mapping)
        each_kind = _each("kinds", kind, count, str)
        each_contrast = _each_contrast(contrast, count)
        if len(file_paths) != count:
            raise BatchLengthError(f"{count} images and {len(file_paths)} paths: give one path per image")
        # Components of its own say where an image belongs; components for all of a batch leave it to the names.
        placed = components is not None and (count == 1 or not isinstance(components, Mapping))
        items = [
            self._item(*parts, placed=placed)
            for parts in zip(data_list, file_paths, each_components, each_kind, each_contrast, strict=True)
        ]
        config = complete(config, self._config)
        display = self.default_display if config is None else display_spec(config)
        if self._replace_layers and not display.replace_layers:
            display = replace(display, replace_layers=True)
        self._warn_of(items, display)
        context = _context(run or self._run or default_run(), step_index, step_name, producer, display)
        sender = self._sender(host, port, transport, config)
        return sender.send(items, context, policy=policy, deadline=deadline, deferred=deferred)

    def endpoint_for(
        self,
        host: str | None = None,
        port: int | None = None,
        transport: str | None = None,
        config: Any = None,
    ) -> Endpoint:
        """Return where a batch with these options goes.

        `host`, `port` and `transport` outrank this backend's own endpoint, which outranks the configuration's.
        """
        from zmqruntime.config import Endpoint

        base = self._endpoint
        config = complete(config)
        if base is None and isinstance(config, SaysWhere):
            base = config.endpoint()
        if isinstance(base, str):
            base = Endpoint.parse(base)
        if host is None and port is None and transport is None:
            return base or Endpoint(data_port=self.default_port)
        return Endpoint(
            host=host or (base.host if base else "localhost"),
            data_port=port or (base.data_port if base else self.default_port),
            transport=transport or "",
        )

    def _sender(self, host: str | None, port: int | None, transport: str | None, config: Any) -> ImageSender:
        from polystore.streaming.sender import sender_for

        return sender_for(self.endpoint_for(host, port, transport, config), **self._options)

    def _item(
        self,
        data: Any,
        path: str | os.PathLike[str],
        components: Components | None,
        kind: str,
        contrast: tuple[float, float] | None,
        *,
        placed: bool,
    ) -> StreamItem:
        text = os.fspath(path)
        regions = as_regions(data)
        key, name, known = key_of_path(text if regions is None else _without_roi_ending(text))
        added = ""
        if components:
            components, added = split_added(components)
            key = key.replace(**components)
        if not known:
            self._stranger(text, name, components)
        if not known and placed:
            name = ""
        if name == kind:  # labels of a file called ..._labels.tif: its layer says so anyway
            name = ""
        name = "_".join(filter(None, (name, added)))
        if regions is not None:
            return StreamItem(None, key, "rois", None, text, rois_to_wire(regions), name)
        if kind not in KINDS or kind == "rois":
            raise UnsupportedArrayError(
                f"kind {kind!r} of {text!r} is not known (known: image, labels; lists of ROI need none)"
            )
        if PurePath(text).suffix.lower() in DATA_SUFFIXES:
            raise UnsupportedArrayError(
                f"{text!r} is a table or text, which a viewer cannot show: save it to disk instead"
            )
        try:
            array = as_host_array(data)
            check_array(array)
        except UnsupportedArrayError as error:
            raise UnsupportedArrayError(f"cannot show {text!r}: {error}") from error
        return StreamItem(array, key, kind, contrast, text, None, name)

    def _warn_of(self, items: Sequence[StreamItem], display: DisplaySpec) -> None:
        """Say here, where the script's author sees it, what the viewer will show otherwise than may be meant."""
        for item in items:
            if (array := item.array) is not None and looks_like_colours(array.shape, array.dtype):
                warn_once(
                    f"an array of shape {tuple(array.shape)} and {array.dtype} is shown as {array.shape[0]} planes of "
                    f"{array.shape[1]} x {array.shape[2]} pixels: colour pictures are (y, x, 3) or (y, x, 4) of uint8; "
                    "move the channels to the front if these are channels (numpy.moveaxis(array, -1, 0))",
                    str(array.dtype),
                )

    def _stranger(self, path: str, name: str, components: Components | None) -> None:
        if components or self._strangers:
            return
        self._strangers += 1
        logger.warning(
            "no file-name parser knows %r: it is shown under its step and as %r; give components= or add a parser "
            "(further names like it are not reported)",
            path,
            name,
        )


@lru_cache(maxsize=1024)
def _context(
    run: str, step_index: int | None, step_name: str, producer: str, display: DisplaySpec
) -> BatchContext:
    return BatchContext(run, step_index, step_name, producer, display)


_told: set[tuple[str, ...]] = set()


def warn_once(text: str, *about: str) -> None:
    """Log a warning, once per process for each thing it is about."""
    if about not in _told:
        _told.add(about)
        logger.warning("%s (said once)", text)


def looks_like_colours(shape: Sequence[int], dtype: Any) -> bool:
    """Whether an array has the shape of a colour picture, but not its pixels: it is taken for a stack."""
    return len(shape) == 3 and shape[2] in (3, 4) and shape[0] > 4 and shape[1] > 4 and dtype != "uint8"


def key_of_path(path: str) -> tuple[ImageKey, str, bool]:
    """Return the key a file's name says, what its layer's name has to say besides, and whether a parser knew it.

    Besides: what the name adds behind the components (``labels`` of ``A01_s001_w1_labels.tif``), or the whole
    stem when no parser knows the name.
    """
    found = identify(path)
    if found is not None:
        return found.key, found.extra, True
    stem, _ = split_suffix(path.replace("\\", "/").rpartition("/")[2])
    return ImageKey(), stem or path, False


def _without_roi_ending(path: str) -> str:
    """Return a path of regions without what ImageJ and others end it with: the parsers know image files."""
    for ending in ROI_ENDINGS:
        if path.lower().endswith(ending):
            return path[: -len(ending)]
    return path


def as_regions(data: Any) -> list[ROI] | None:
    """Return `data` as a list of regions, or None when it is none."""
    if isinstance(data, ROI):
        return [data]
    if isinstance(data, list | tuple) and all(isinstance(each, ROI) for each in data):
        return list(data)
    return None


def _each(what: str, given: Any, count: int, single: type) -> Sequence[Any]:
    if given is None or isinstance(given, single):
        return [given] * count
    if len(given) != count:
        raise BatchLengthError(f"{count} images and {len(given)} {what}: give one for all, or one per image")
    return list(given)


def _each_contrast(given: Any, count: int) -> Sequence[tuple[float, float] | None]:
    single = given is not None and len(given) == 2 and all(isinstance(value, Real) for value in given)
    found = _each(
        "contrasts",
        (float(given[0]), float(given[1])) if single else given,
        count,
        tuple if single else type(None),
    )
    return [each if each is None else (float(each[0]), float(each[1])) for each in found]
