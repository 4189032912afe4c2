"""A process that writes planes to the plates it is told: ``plate_writer.py ENGINE NUMBER OF MODE``."""

from __future__ import annotations

import sys

import numpy as np

from polystore.backends.zarr import ZarrBackend

WELLS = [f"{row}{column:02d}" for row in "ABCD" for column in range(1, 5)]


def plane(name: str, version: int = 0) -> np.ndarray:
    """Pixels that tell which plane they are, and which version of it: every pixel the same."""
    value = (sum(name.encode()) * 31 + version * 7919) % 60000 + 1
    return np.full((64, 64), value, "uint16")


def names() -> list[str]:
    """Two channels and three z steps of every well, and a projection."""
    found = [f"{well}_s001_w{c}_z{z:03d}.tif" for well in WELLS for c in (1, 2) for z in (1, 2, 3)]
    return found + [f"{well}_s001_w3.tif" for well in WELLS]


def main() -> None:
    engine, number, count, mode = sys.argv[1:]
    store = ZarrBackend(engine=engine)  # type: ignore[arg-type]
    mine = names()[int(number) :: int(count)]
    print("ready", flush=True)
    for line in sys.stdin:
        plate = line.strip()
        for version in range(1_000_000 if mode == "forever" else 1):  # until killed
            for name in mine:
                store.save(plane(name, version % 3), f"{plate}/{name}")
        print("done", flush=True)


if __name__ == "__main__":
    main()
