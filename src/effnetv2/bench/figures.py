"""Results as pictures: bars with quartiles; accuracy against what it costs here."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from effnetv2.bench.agreement import FamilyRow
from effnetv2.bench.compare import Case
from effnetv2.bench.family import Family
from effnetv2.bench.loading import LoaderCase
from effnetv2.bench.timing import Spread
from effnetv2.report.svg import FIRST, INK, MUTED, SECOND, canvas, standalone, style

_WIDTH, _BAR, _FRAME = 640, 22, 62
_PANEL, _LETTER, _POINTS_PER_INCH = 360, 5.0, 72
_PLACES = ((5, -3), (5, 5), (5, -11), (-5, 5), (-5, -3), (-5, -11), (12, 12), (12, -19))
_GROUPS = {
    "others": (MUTED, "s", "others"),
    "V1": (SECOND, "^", "EfficientNet"),
    "V2": (FIRST, "o", "EfficientNetV2"),
}
_PREFERRED = {"others": 0, "V1": 2, "V2": 3}
"""Of `_PLACES`: off the line that the group's points lie on."""
_Bar = tuple[str, Spread, bool]
_Cost = Callable[[FamilyRow], float | None]


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
    panels: dict[str, _Cost] = {
        "training step, ms for one picture": lambda r: _milliseconds(r.step_seconds),
        "inference, ms for one picture": lambda r: _milliseconds(r.infer_seconds),
        "parameters, millions": lambda r: r.params / 1e6,
    }
    with style():
        figure = canvas(_WIDTH, 3 * _PANEL)
        every = figure.subplots(3)
        for axes, (what, cost) in zip(every, panels.items(), strict=True):
            _costs(axes, found.rows, cost)
            axes.set_xlabel(what)
            axes.set_ylabel("published top-1, %")
        every[0].legend(loc="lower right")
        figure.draw_without_rendering()  # where a name has room depends on the layout
        for axes, cost in zip(every, panels.values(), strict=True):
            _name(axes, found.rows, cost)
        return standalone(figure, "Published ImageNet accuracy against this machine's cost")


def _costs(axes: Axes, rows: Sequence[FamilyRow], cost: _Cost) -> None:
    for group, (colour, marker, label) in _GROUPS.items():
        points = sorted((x, y) for x, y, row in _points(rows, cost) if row.group == group)
        line = "" if group == "others" else "-"
        axes.plot([x for x, _ in points], [y for _, y in points], f"{marker}{line}",
                  color=colour, label=label)  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.1)


def _name(axes: Axes, rows: Sequence[FamilyRow], cost: _Cost) -> None:
    """Write each name beside its point, where no other name is if such a place there is."""
    points = sorted(_points(rows, cost), key=lambda p: p[2].group, reverse=True)
    shown = [axes.transData.transform((x, y)) for x, y, _ in points]
    scale = axes.figure.dpi / _POINTS_PER_INCH
    taken = [(x / scale - 3, y / scale - 3, x / scale + 3, y / scale + 3) for x, y in shown]
    for (x, y, row), at in zip(points, shown, strict=True):
        left, bottom = at / scale
        width, first = _LETTER * len(row.name), _PREFERRED[row.group]
        ordered = _PLACES[first:] + _PLACES[:first]
        places = [(dx if dx > 0 else dx - width, dy) for dx, dy in ordered]
        boxes = [(left + dx, bottom + dy, left + dx + width, bottom + dy + 8) for dx, dy in places]
        clear = (i for i, box in enumerate(boxes) if not any(_overlap(box, b) for b in taken))
        chosen = next(clear, 0)
        taken.append(boxes[chosen])
        axes.annotate(row.name, (x, y), places[chosen], textcoords="offset points", fontsize=8,
                      color=_GROUPS[row.group][0])  # fmt: skip


def _points(rows: Sequence[FamilyRow], cost: _Cost) -> list[tuple[float, float, FamilyRow]]:
    return [
        (x, row.top1, row) for row in rows if row.top1 is not None and (x := cost(row)) is not None
    ]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


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
