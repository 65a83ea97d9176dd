"""Results as pictures: bars with quartiles; accuracy against what it costs here."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes

from effnetv2.bench.agreement import FamilyRow
from effnetv2.bench.compare import Case
from effnetv2.bench.family import Family
from effnetv2.bench.loading import LoaderCase
from effnetv2.bench.timing import Spread
from effnetv2.report.svg import FIRST, INK, MUTED, SECOND, canvas, standalone, style

_WIDTH, _BAR, _FRAME = 640, 22, 62
_GROUPS = {"others": (MUTED, "s"), "V1": (SECOND, "^"), "V2": (FIRST, "o")}
_Bar = tuple[str, Spread, bool]


def of_cases(cases: Sequence[Case]) -> str:
    """Draw images a second of every contender, a panel a case; ours in colour."""
    panels = {
        f"{case.model}, {case.side} px, batch {case.batch}": [
            (row.name, row.images_per_second, row.library == "effnetv2") for row in case.rows
        ]
        for case in cases
    }
    what = {"step": "training steps", "infer": "inference"}[cases[0].kind]
    return _bars(panels, f"Images a second of {what}, with quartiles")


def of_loading(cases: Sequence[LoaderCase]) -> str:
    """Draw pictures a second of every loader, a panel a set of pictures."""
    panels = {
        f"{case.pictures} at {case.side} px, {case.workers} workers": [
            (row.name, row.images_per_second, row.name == "effnetv2") for row in case.rows
        ]
        for case in cases
    }
    return _bars(panels, "Pictures a second from the loader, with quartiles")


def of_family(found: Family) -> str:
    """Draw published accuracy against step time, inference time and parameters (Figures 1 and 5).

    Times are of one picture on this machine.
    """
    panels: dict[str, Callable[[FamilyRow], float | None]] = {
        "training step, ms for one picture": lambda r: _milliseconds(r.step_seconds),
        "inference, ms for one picture": lambda r: _milliseconds(r.infer_seconds),
        "parameters, millions": lambda r: r.params / 1e6,
    }
    with style():
        figure = canvas(_WIDTH, 3 * 300)
        for axes, (what, cost) in zip(figure.subplots(3), panels.items(), strict=True):
            _costs(axes, found.rows, cost)
            axes.set_xlabel(what)
            axes.set_ylabel("published top-1, %")
        figure.axes[0].legend(loc="lower right")
        return standalone(figure, "Published ImageNet accuracy against this machine's cost")


def _costs(
    axes: Axes, rows: Sequence[FamilyRow], cost: Callable[[FamilyRow], float | None]
) -> None:
    for group, (colour, marker) in _GROUPS.items():
        points = sorted(
            (x, row.top1, row.name)
            for row in rows
            if row.group == group and row.top1 is not None and (x := cost(row)) is not None
        )
        line = "" if group == "others" else "-"
        label = group if group == "others" else f"EfficientNet{'V2' if group == 'V2' else ''}"
        axes.plot([p[0] for p in points], [p[1] for p in points], f"{marker}{line}",
                  color=colour, label=label)  # fmt: skip
        for x, y, name in points:
            axes.annotate(name, (x, y), (4, -9), textcoords="offset points", fontsize=8,
                          color=colour)  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.12)


def _bars(panels: dict[str, list[_Bar]], label: str) -> str:
    heights = [_FRAME + _BAR * len(bars) for bars in panels.values()]
    with style():
        figure = canvas(_WIDTH, sum(heights))
        every = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, bars) in zip(every, panels.items(), strict=True):
            _panel(axes, bars)
            axes.set_title(title, loc="left", fontsize=11)
        every[-1].set_xlabel("images a second")
        return standalone(figure, label)


def _panel(axes: Axes, bars: Sequence[_Bar]) -> None:
    ordered = sorted(bars, key=lambda bar: bar[1].median)
    medians = [spread.median for _, spread, _ in ordered]
    whiskers = [
        [spread.median - spread.low for _, spread, _ in ordered],
        [spread.high - spread.median for _, spread, _ in ordered],
    ]
    colours = [FIRST if ours else MUTED for _, _, ours in ordered]
    axes.barh([name for name, _, _ in ordered], medians, color=colours, xerr=whiskers,
              error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 3})  # fmt: skip
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.tick_params(axis="y", length=0)


def _milliseconds(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median * 1000
