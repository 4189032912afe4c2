"""The picture of a run: how far each number is from its goal, and transport beside other people's."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import BenchmarkError, Goal, Row, rounded

MET, MISSED, OTHERS, INK, FAINT = "#00796b", "#c43d1d", "#9aa5ad", "#22303a", "#66737d"
"""Colours that differ in lightness too: the picture also works in grey and for colour-blind people."""

NEAREST, FARTHEST = 0.1, 50.0
"""Margins beyond these are drawn there: what is fifty times better than asked for need not fill the picture."""

CASES = ("2048", "512")
QUANTITIES = (
    ("block_memcpy_ratio", "the pipeline is held up, per image", "left is better"),
    ("latency_p50_memcpy_ratio", "until the receiver has it (p50)", "left is better"),
    ("sustained_memcpy_ratio", "sustained rate", "right is better"),
)
OURS = ("ours", "copy", "empty")
WORDS = {
    "ours": "this project",
    "empty": "this project, born in a slot",
    "copy": "this project, receiver copies",
    "baseline": "original scheme",
}


def draw(path: Path, machine: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Write the chart of `rows` as PNG.

    Raises
    ------
    BenchmarkError
        matplotlib is not installed, or no row has a goal.
    """
    goals = [row for row in rows if row.goal is not None]
    if not goals:
        raise BenchmarkError("no row has a goal")
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise BenchmarkError("matplotlib is not installed ('nox -s bench' installs it)") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    compared = _compared(rows)
    groups = list(dict.fromkeys(row.name.partition(".")[0] for row in goals))
    upper = 0.36 * (len(goals) + 1.2 * len(groups)) + 1.0
    lower = [0.25 * len(entries) + 1.0 for entries in compared.values()]
    top, bottom = 1.0, 0.55
    height = top + upper + sum(lower) + bottom
    with mpl.rc_context(
        {
            "font.size": 9.5,
            "text.color": INK,
            "axes.labelcolor": FAINT,
            "xtick.color": FAINT,
            "svg.fonttype": "none",
        }
    ):
        figure = plt.figure(figsize=(12, height), facecolor="white")
        _title(figure, height, machine, goals)

        def area(left: float, above: float, width: float, size: float) -> Any:
            return figure.add_axes((left, 1 - (above + size) / height, width, size / height))

        _draw_goals(area(0.27, top, 0.50, upper - 0.7), goals, groups, {row.name: row for row in rows})
        above = top + upper
        for (case, entries), size in zip(compared.items(), lower, strict=True):
            for column, (quantity, words, hint) in enumerate(QUANTITIES):
                axes = area(0.225 + 0.26 * column, above + 0.45, 0.185, size - 0.65)
                _draw_compared(axes, entries, quantity, f"{words}\n{hint}, memcpy = 1", names=column == 0)
            figure.text(
                0.02,
                1 - (above + 0.13) / height,
                f"{case} x {case} uint16",
                fontsize=11,
                weight="bold",
                va="center",
            )
            above += size
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _title(figure: Any, height: float, machine: Mapping[str, Any], goals: Sequence[Row]) -> None:
    met = sum(bool(row.met) for row in goals)
    figure.text(
        0.02, 1 - 0.34 / height, f"{met} of {len(goals)} goals met", fontsize=17, weight="bold", va="center"
    )
    if machine.get("quick"):
        figure.text(
            0.98,
            1 - 0.34 / height,
            "quick run: says nothing about speed",
            ha="right",
            va="center",
            color=MISSED,
        )
    others = max(
        (share for share in (machine.get("others_cpu") or {}).values() if share is not None), default=0.0
    )
    about = (
        f"{machine.get('cpu')}, {machine.get('usable_cores')} cores, {machine.get('python')}, {machine.get('system')}; "
        f"others used up to {others:.0%} of it; {machine.get('time', '')[:10]}"
    )
    figure.text(0.02, 1 - 0.68 / height, textwrap.shorten(about, 170), fontsize=9, color=FAINT, va="center")


def _draw_goals(axes: Any, goals: Sequence[Row], groups: Sequence[str], by_name: Mapping[str, Row]) -> None:
    """One line per goal: the point is the value, the small ones its repetitions, a diamond iceoryx2."""
    lines: list[tuple[float, Row]] = []
    headings = []
    at = 0.0
    for group in groups:
        headings.append((at, group))
        for row in goals:
            if row.name.startswith(f"{group}."):
                at += 1
                lines.append((at, row))
        at += 1.2
    shown = [(row, value) for _, row in lines for value in (row.value, *row.runs)]
    shown += [(row, peer.value) for _, row in lines if (peer := by_name.get(_peer_of(row)))]
    margins = [_margin(row, value) for row, value in shown]
    left, right = min(0.5, 0.85 * min(margins)), max(2.5, 1.25 * max(margins))
    axes.set(xscale="log", xlim=(left, right), ylim=(at - 0.9, -0.7), yticks=[])
    axes.axvspan(left, 1, color=MISSED, alpha=0.06, lw=0)
    axes.axvline(1, color=INK, lw=1)
    for y, text in headings:
        axes.annotate(
            text, (-0.505, y), xycoords=("axes fraction", "data"), fontsize=11, weight="bold", va="center"
        )
    for y, row in lines:
        x, colour = _margin(row, row.value), MET if row.met else MISSED
        axes.plot((1, x), (y, y), color=colour, lw=2.2, alpha=0.5, solid_capstyle="butt")
        runs = [_margin(row, run) for run in row.runs]
        axes.plot(runs, [y] * len(runs), "|", color=colour, ms=7, alpha=0.45)
        axes.plot(x, y, {NEAREST: "<", FARTHEST: ">"}.get(x, "o"), color=colour, ms=7.5)
        peer = by_name.get(_peer_of(row))
        if peer is not None:
            axes.plot(_margin(row, peer.value), y, "D", mfc="white", mec=INK, ms=5.5, zorder=5)
        label = row.name.partition(".")[2].replace("_", " ").replace(".", "  ")
        axes.annotate(label, (-0.49, y), xycoords=("axes fraction", "data"), va="center")
        value = f"{rounded(row.value):g} {'' if row.unit == 'x' else row.unit}".strip()
        axes.annotate(
            value, (1.03, y), xycoords=("axes fraction", "data"), va="center", weight="bold", color=colour
        )
        axes.annotate(
            f"goal {row.goal}", (1.24, y), xycoords=("axes fraction", "data"), va="center", color=FAINT
        )
    ticks = [tick for tick in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32) if left <= tick <= right]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color=OTHERS, alpha=0.25, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    note = "how many times better than its goal (left of 1: missed); |: single runs"
    axes.set_xlabel(note + ("; \u25c7: iceoryx2" if any("iceoryx2" in name for name in by_name) else ""))


def _margin(row: Row, value: float) -> float:
    return min(max(Goal.parse(row.goal or "").margin(value), NEAREST), FARTHEST)


def _peer_of(row: Row) -> str:
    return f"transport.iceoryx2.{row.name.removeprefix('transport.')}"


def _compared(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Return case -> variant -> quantity -> value, ours first, where there is something to compare with."""
    found: dict[str, dict[str, dict[str, float]]] = {case: {} for case in CASES}
    for row in rows:
        parts = row.name.split(".")
        if (
            parts[0] == "transport"
            and parts[-1] in {quantity for quantity, _, _ in QUANTITIES}
            and parts[-2] in CASES
        ):
            variant = parts[1] if len(parts) == 4 else "ours"
            found[parts[-2]].setdefault(variant, {})[parts[-1]] = row.value
    return {
        case: dict(
            sorted(
                entries.items(),
                key=lambda entry: (
                    OURS.index(entry[0]) if entry[0] in OURS else len(OURS),
                    entry[1].get("block_memcpy_ratio", 0.0),
                ),
            )
        )
        for case, entries in found.items()
        if len(entries) > 1
    }


def _draw_compared(
    axes: Any, entries: Mapping[str, Mapping[str, float]], quantity: str, title: str, *, names: bool
) -> None:
    """One line per variant, from memcpy (1) to its value."""
    values = [entry.get(quantity, 1.0) for entry in entries.values()]
    axes.axvline(1, color=INK, lw=0.9)
    axes.set(
        xscale="log",
        xlim=(0.7 * min(*values, 1.0), 1.4 * max(*values, 1.0)),
        ylim=(len(values) - 0.4, -0.6),
        xticks=[],
    )
    axes.minorticks_off()
    for place, (variant, value) in enumerate(zip(entries, values, strict=True)):
        colour = MET if variant in OURS else FAINT
        axes.axhline(place, color=OTHERS, alpha=0.25, lw=0.8, zorder=0)
        axes.plot((1, value), (place, place), color=colour, lw=2.2, alpha=0.5, solid_capstyle="butt")
        axes.plot(value, place, "o", color=colour, ms=6.5)
        axes.annotate(
            f"{value:.2g}", (1.02, place), xycoords=("axes fraction", "data"), va="center", color=colour
        )
    axes.set_yticks(
        list(range(len(values))),
        [WORDS.get(variant, variant) for variant in entries] if names else [""] * len(values),
    )
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9, loc="left", color=FAINT)
