"""The figures of the page: each function draws one and returns it as inline SVG."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from effnetv2.report.reading import Bin, Evaluation, Phase, Training, Validation
from effnetv2.report.svg import (
    FIRST,
    HEAT,
    INK,
    LINE,
    MUTED,
    ON_HEAT,
    SECOND,
    canvas,
    inline,
    style,
)
from effnetv2.report.wording import decimal

NAMED_CLASSES = 15  # up to which the confusion matrix can carry names and counts
MOST_POINTS = 300  # of a line; longer series are drawn as means of neighbours

_WIDTH, _HEIGHT = 400, 215
_MOST_PHASE_NAMES = 6
_MOST_PHASE_LINES = 12
_HEAT_RGB = to_rgb("#3d8fd6")  # a picture cannot follow the page's theme; this reads on both
_Point = tuple[float, float]


def schedule(phases: Sequence[Phase]) -> str:
    """Draw image size and every regularisation over the steps, one above the other."""
    edges = [phase.start for phase in phases] + [phases[-1].stop]
    rows: dict[str, dict[str, Sequence[float]]] = {
        "image size (px)": {"image size": [p.resolution for p in phases]},
        "RandAugment": {"RandAugment": [p.randaugment for p in phases]},
        "mixup, cutmix": {"mixup": [p.mixup for p in phases], "cutmix": [p.cutmix for p in phases]},
        "dropout": {"dropout": [p.dropout for p in phases]},
        "drop path": {"drop path": [p.drop_path for p in phases]},
    }
    with style():
        figure = canvas(_WIDTH, 475)
        every = figure.subplots(len(rows), sharex=True)
        for axes, (title, lines) in zip(every, rows.items(), strict=True):
            axes.set_title(title, loc="left", fontsize=11)
            strokes = ((FIRST, "-"), (SECOND, "--"))
            drawn = {k: v for k, v in lines.items() if any(v)}
            for (name, values), (colour, dash) in zip(drawn.items(), strokes, strict=False):
                axes.step(edges, [*values, values[-1]], dash, where="post", color=colour,
                          label=name)  # fmt: skip
            if drawn:
                # From zero, so that a rise looks as large as it is.
                axes.set_ylim(0, 1.15 * max(max(values) for values in drawn.values()))
                axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
            else:
                axes.set_yticks([])
                axes.text(0.5, 0.5, "off", transform=axes.transAxes, ha="center", va="center")
            if len(drawn) > 1:
                axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        _over_steps(every[-1])
        sizes = ", ".join(f"{p.resolution} px from step {p.start}" for p in _changes(phases)[:12])
        return inline(figure, "schedule", f"The training schedule over the steps: {sizes}")


def loss(
    training: Sequence[Training], validation: Sequence[Validation], phases: Sequence[Phase]
) -> str:
    """Draw the loss on training batches and on the validation split."""
    seen = _points((t.step, t.loss) for t in training)
    held = _points((v.step, v.loss) for v in validation)
    with style():
        figure = canvas(_WIDTH, _HEIGHT)
        axes = figure.subplots()
        _mark(axes, phases, named=False)
        _line(axes, seen, FIRST, "training", "-", "")
        _line(axes, held, SECOND, "validation", "--", "o")
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        _over_steps(axes)
        return inline(figure, "loss", f"Loss over steps: {_ends('training', seen)}; "
                      f"{_ends('validation', held)}")  # fmt: skip


def accuracy(validation: Sequence[Validation], phases: Sequence[Phase]) -> str:
    """Draw top-1 accuracy and macro-F1 on the validation split, in percent."""
    top1 = _points((v.step, v.top1) for v in validation)
    f1 = _points((v.step, v.macro_f1) for v in validation)
    with style():
        figure = canvas(_WIDTH, _HEIGHT)
        axes = figure.subplots()
        _line(axes, top1, FIRST, "accuracy", "-", "o")
        _line(axes, f1, SECOND, "macro-F1", "--", "s")
        axes.set_ylim(top=min(1.0, axes.get_ylim()[1]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.4g}%"))
        _mark(axes, phases, named=True)
        axes.legend(loc="lower right")
        _over_steps(axes)
        return inline(figure, "accuracy", "On the validation split, over steps: "
                      f"{_ends('accuracy', top1)}; {_ends('macro-F1', f1)}")  # fmt: skip


def learning_rate(training: Sequence[Training], phases: Sequence[Phase]) -> str:
    """Draw the learning rate of every logged step."""
    points = _points((t.step, t.learning_rate) for t in training)
    return _single("learning-rate", "Learning rate", points, phases)


def throughput(training: Sequence[Training], phases: Sequence[Phase]) -> str:
    """Draw the training pictures per second, which fall as the pictures grow."""
    points = _points((t.step, t.images_per_second) for t in training)
    return _single("throughput", "Images per second", points, phases)


def confusion(evaluation: Evaluation) -> str:
    """Draw the confusion matrix; names and counts stand in it up to `NAMED_CLASSES` classes."""
    counts = np.array(evaluation.confusion, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = len(evaluation.classes) <= NAMED_CLASSES
    with style():
        figure = canvas(400, 370) if len(counts) <= 6 else canvas(480, 440)
        axes = figure.subplots()
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("guess")
        axes.set_ylabel("truth")
        axes.set_aspect("equal")
        if few:
            _counted(axes, evaluation.classes, counts, shares)
        else:
            # A square root, so that rare confusions can be seen beside a full diagonal.
            axes.imshow(np.sqrt(shares), cmap=_heat(), vmin=0, vmax=1, interpolation="none")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set(visible=True, color=LINE)
        right, total = int(np.trace(counts)), int(counts.sum())
        return inline(figure, "confusion", f"Confusion matrix of {len(counts)} classes: "
                      f"{right} of {total} pictures are on the diagonal")  # fmt: skip


def reliability(bins: Sequence[Bin], ece: float | None) -> str:
    """Draw how often guesses of a confidence are right, and how many guesses there are."""
    full = [(b.confidence, b.accuracy, b.images) for b in bins
            if b.images and b.confidence is not None and b.accuracy is not None]  # fmt: skip
    confidences = [confidence for confidence, _, _ in full]
    share = FuncFormatter(lambda y, _: f"{100 * y:.0f}%")
    with style():
        figure = canvas(_WIDTH, 370)
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], ":", color=MUTED, linewidth=1.2, label="calibrated")
        above.plot(confidences, [right for _, right, _ in full], "-o", color=FIRST,
                   label="this network")  # fmt: skip
        above.set_ylabel("right")
        above.set_ylim(0, 1.03)
        above.set_xlim(0, 1.03)
        above.yaxis.set_major_formatter(share)
        above.legend(loc="upper left")
        below.bar(confidences, [images for _, _, images in full], width=0.025, color=FIRST)
        below.set_ylabel("images")
        below.set_xlabel("confidence of the guess")
        below.xaxis.set_major_formatter(share)
        below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        figure.align_ylabels()
        return inline(figure, "reliability", "Share of right guesses over their confidence; "
                      f"expected calibration error {decimal(ece)}")  # fmt: skip


def _single(name: str, title: str, points: Sequence[_Point], phases: Sequence[Phase]) -> str:
    with style():
        figure = canvas(_WIDTH, _HEIGHT)
        axes = figure.subplots()
        _mark(axes, phases, named=False)
        _line(axes, points, FIRST, title, "-", "")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        _over_steps(axes)
        return inline(figure, name, f"{title} over steps: {_ends(title, points)}")


def _counted(axes: Axes, classes: Sequence[str], counts: np.ndarray, shares: np.ndarray) -> None:
    size = len(classes)
    for row, column in np.ndindex(size, size):
        share = float(shares[row, column])
        axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, linewidth=0, color=HEAT,
                                 alpha=0.06 + 0.94 * share))  # fmt: skip
        if counts[row, column]:
            colour = ON_HEAT if share > 0.5 else INK
            axes.text(column, row, f"{counts[row, column]:.0f}", color=colour, ha="center",
                      va="center", fontsize=11 if size <= 10 else 9)  # fmt: skip
    names = [name if len(name) <= 16 else name[:15] + "…" for name in classes]
    upright = max(map(len, names)) * size <= 40
    axes.set_xticks(range(size), names, rotation=0 if upright else 40,
                    ha="center" if upright else "right", rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(size), names)
    axes.tick_params(length=0)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)


def _heat() -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("heat", [(*_HEAT_RGB, 0.04), (*_HEAT_RGB, 1.0)])


def _line(
    axes: Axes, points: Sequence[_Point], colour: str, name: str, dash: str, marker: str
) -> None:
    if len(points) <= 1:
        marker = marker or "o"  # a line of one point cannot be seen
    elif len(points) > 40:
        marker = ""
    axes.plot(*zip(*points, strict=True), linestyle=dash, marker=marker, color=colour,
              label=name) if points else None  # fmt: skip


def _points(pairs: Iterable[tuple[float, float | None]]) -> list[_Point]:
    """Return the known points; of a long series, the means of equally many neighbours."""
    known = [(x, y) for x, y in pairs if y is not None]
    group = math.ceil(len(known) / MOST_POINTS)
    if group <= 1:
        return known
    chunks = [known[i : i + group] for i in range(0, len(known), group)]
    return [(chunk[-1][0], sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]


def _mark(axes: Axes, phases: Sequence[Phase], *, named: bool) -> None:
    """Draw where phases begin, if `named` with the new image size."""
    changes = _changes(phases)
    for phase in phases if len(phases) <= _MOST_PHASE_LINES else changes:
        if phase.start:
            axes.axvline(phase.start, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)), zorder=0)
    for phase in changes:
        if named and len(changes) <= _MOST_PHASE_NAMES:
            axes.annotate(f"{phase.resolution} px", (phase.start, 1), (0, 4), color=MUTED,
                          xycoords=("data", "axes fraction"), textcoords="offset points",
                          fontsize=10)  # fmt: skip


def _changes(phases: Sequence[Phase]) -> list[Phase]:
    sizes = [0, *(phase.resolution for phase in phases)]
    return [p for p, before in zip(phases, sizes, strict=False) if p.resolution != before]


def _over_steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _ends(name: str, points: Sequence[_Point]) -> str:
    if not points:
        return f"{name} not known"
    return f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}"
