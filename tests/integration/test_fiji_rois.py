"""Regions and macros in an ImageJ that is a process of its own: streamed there, drawn there, given back, measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers import launch
from openhcs_viewers._cli import main
from openhcs_viewers.errors import MacroError
from openhcs_viewers.handle import ViewerHandle
from polystore.backends.disk import DiskBackend
from polystore.components import ImageKey
from polystore.rois import ROI, rois_to_wire
from polystore.streaming import StreamItem
from polystore.streaming.messages import BatchContext
from zmqruntime.discovery import free_endpoint
from zmqruntime.errors import RemoteError

SQUARE = np.array([[2.5, 2.5], [2.5, 6.5], [6.5, 6.5], [6.5, 2.5]])


def stream(handle: ViewerHandle, *items: StreamItem) -> None:
    sender = handle.sender(policy="block", deadline=20.0)
    sender.send(list(items), BatchContext(run="r", step_index=1, step_name="blur"))
    handle.settle()


def regions(count: int, **key: Any) -> StreamItem:
    rois = [ROI("polygon", SQUARE + n % 40, {"name": f"cell {n}"}) for n in range(count)]
    return StreamItem(None, ImageKey(**key), rois=rois_to_wire(rois), kind="rois")


def plane(value: int, **key: Any) -> StreamItem:
    return StreamItem(np.full((64, 64), value, np.uint8), ImageKey(**key))


def number(handle: ViewerHandle, expression: str) -> int:
    return int(float(handle.run_macro(f"return '' + {expression};")))


@pytest.mark.usefixtures("on_display")
def test_streamed_drawn_given_back_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with launch("fiji", detached=False) as handle:
        # The regions come before their window, at planes nobody looks at.
        stream(handle, regions(300, well="A01", z=2, t=2))
        assert number(handle, 'roiManager("count")') == 300
        stream(handle, *[plane(10 * z + t, well="A01", z=z, t=t) for z in (1, 2, 3) for t in (1, 2)])
        stream(handle, regions(200, well="A01", z=3, t=1))
        assert number(handle, 'roiManager("count")') == 500
        assert number(handle, "Overlay.size") == 500
        place = "Overlay.activateSelection(450); Roi.getPosition(c, z, t); return '' + z + ',' + t;"
        assert handle.run_macro(place) == "3,1"
        handle.run_macro('run("Select None");')
        assert handle.rois() == []
        assert len(handle.rois("all")) == 500

        # The user draws one, and keeps it.
        handle.run_macro(
            'Stack.setPosition(1, 3, 2); makeOval(10, 20, 30, 8); roiManager("Add"); run("Select None");'
        )
        (drawn,) = handle.rois()
        assert (drawn.roi.kind, drawn.key, drawn.streamed) == (
            "ellipse",
            ImageKey(well="A01", z=3, t=2),
            False,
        )
        assert drawn.layer == "Step_01_blur_Well_A01"
        np.testing.assert_array_equal(drawn.roi.points, [[19.5, 9.5], [27.5, 39.5]])

        # Sent again: the old ones are gone, his is there still.
        stream(handle, regions(10, well="A01", z=2, t=2))
        assert number(handle, 'roiManager("count")') == 211
        assert number(handle, "Overlay.size") == 210
        assert len(handle.rois()) == 1

        # The command line.
        out = tmp_path / "drawn.zip"
        assert main(["rois", "--out", str(out)]) == 0
        assert "1 regions are in" in capsys.readouterr().out
        (loaded,) = DiskBackend().load(str(out))
        assert loaded.place == drawn.key
        assert main(["rois", "--all", "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["rois"]) == 211
        code = tmp_path / "measure.ijm"
        code.write_text(
            "makeRectangle(0, 0, 4, 4); getStatistics(area, mean); return getArgument() + area + ' ' + mean;"
        )
        assert main(["macro", str(code), "--argument", "result: "]) == 0
        assert capsys.readouterr().out == "result: 16 32\n"
        code.write_text("x = 1;\ny = x + nothing;")
        assert main(["macro", str(code)]) == 1
        assert "Undefined variable in line 2" in capsys.readouterr().err
        assert main(["macro", str(tmp_path / "none.ijm")]) == 1
        assert "cannot be read" in capsys.readouterr().err
        with pytest.raises(MacroError, match=r"longer than 0\.5 s"):
            handle.run_macro("while (true) { x = 1; }", timeout=0.5)
        assert handle.stop(timeout=20.0) == "asked"


def test_over_tcp_and_without_a_window() -> None:
    port = free_endpoint(26000, "tcp").data_port
    with launch("fiji", detached=False, display="headless", transport="tcp", port=port) as handle:
        stream(handle, plane(7, well="A01", z=1), plane(8, well="A01", z=2), regions(3, well="A01", z=2))
        assert [one.source for one in handle.rois("all")] == ["overlay"] * 3
        assert {one.key for one in handle.rois("all")} == {ImageKey(well="A01", z=2)}
        with pytest.raises(RemoteError, match="run_macro may do anything") as caught:
            handle.run_macro("return '1';")
        assert caught.value.code == "refused"
