"""Results as tables for a person."""

from collections.abc import Sequence

from effnetv2.bench.agreement import FamilyRow
from effnetv2.bench.compare import Case
from effnetv2.bench.family import Family
from effnetv2.bench.loading import LoaderCase
from effnetv2.bench.table import Table, number
from effnetv2.bench.timing import Spread

ENOUGH = 1.5
"""Times that a loader should deliver what a step consumes: both share the processor."""
_KINDS = {"step": "one training step", "infer": "inference"}


def of_case(case: Case) -> Table:
    """Return a row a contender, fastest first."""
    rows = sorted(case.rows, key=lambda row: -row.images_per_second.median)
    ceilings = ", ".join(
        f"{number(spread.median)} GFLOP/s in {precision}"
        for precision, spread in case.ceilings.items()
    )
    best = next((row for row in rows if row.name == case.best), None)
    notes = [f"ceiling (matrix multiplication): {ceilings}", *_left(case)]
    if best is not None and best.speed_ratio is not None:
        ratio = _spread(best.speed_ratio)
        notes.insert(0, f"ours ({best.setting}) is {ratio} times as fast as {case.best_peer}")
    return Table(
        title=f"{_KINDS[case.kind]}, {case.model}, {case.side} px, batch {case.batch}, "
        f"{case.rounds} rounds: median (quartiles)",
        header=("library", "network", "setting", "images/s", "ms/batch", "× best peer", "ceiling",
                "peak MiB", "first call s"),
        rows=tuple(
            (
                row.library,
                row.network,
                row.setting,
                _spread(row.images_per_second),
                number(row.seconds.median * 1000),
                _spread(row.speed_ratio),
                "–" if row.ceiling_share is None else f"{row.ceiling_share:.0%}",
                number(row.peak_mib),
                number(row.first_seconds),
            )
            for row in rows
        ),
        notes=tuple(notes),
    )  # fmt: skip


def of_loading(case: LoaderCase) -> Table:
    """Return a row a loader, and what a step consumes."""
    rows = [
        (row.name, _spread(row.images_per_second), _spread(row.speed_ratio)) for row in case.rows
    ]
    notes = []
    if case.step_images_per_second is not None and case.supply is not None:
        rows.append(
            (f"consumed by a step of {case.step}", _spread(case.step_images_per_second), "")
        )
        short = 1 - case.supply.median / ENOUGH
        notes.append(
            f"our loader delivers {_spread(case.supply)} times what the step consumes"
            + (f": {short:.0%} short of the {ENOUGH} that keep it fed" if short > 0 else "")
        )
    width, height = case.picture_size
    return Table(
        title=f"loading {case.pictures} ({width} x {height}) at {case.side} px, "
        f"{case.workers} workers, {case.rounds} rounds of {case.images} pictures: "
        "median (quartiles)",
        header=("loader", "images/s", "× best peer"),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def of_family(found: Family) -> tuple[Table, ...]:
    """Return the networks, the published ratios beside the measured ones, and the correlations."""
    networks = Table(
        title=f"milliseconds for one picture, {found.setting}; training at batch "
        f"{found.step_batch}, inference at {found.infer_batch}, {found.rounds} rounds",
        header=("network", "top-1 %", "params M", "train px", "step", "eval px", "inference",
                "paper: ms", "paper: hours"),
        rows=tuple(_family_row(row) for row in found.rows),
        notes=tuple(f"left out: {line}" for line in found.left_out),
    )  # fmt: skip
    beside = Table(
        title="how many times the time of the second network the first one takes",
        header=("paper", "of", "to", "what", "published", "here"),
        rows=tuple(
            (b.ratio.table, b.ratio.of, b.ratio.to, b.ratio.what,
             number(b.ratio.published), number(b.measured))
            for b in found.ratios
        ),
        notes=("train: V2 progressive, V1 not, as their hours were; progressive: both. From the "
               "step at the last size, times the arithmetic of four growing ones.",),
    )  # fmt: skip
    order = Table(
        title="Spearman's rank correlation of published and measured times",
        header=("of", "rho", "networks"),
        rows=tuple((c.what, f"{c.coefficient:.3f}", str(c.networks)) for c in found.correlations),
    )
    return tuple(table for table in (networks, beside, order) if table.rows)


def _family_row(row: FamilyRow) -> tuple[str, ...]:
    return (
        row.name,
        number(row.top1),
        f"{row.params / 1e6:.1f}",
        str(row.train_side),
        _milliseconds(row.step_seconds),
        str(row.eval_side),
        _milliseconds(row.infer_seconds),
        number(row.published_infer_ms),
        number(row.published_train_hours),
    )


def _milliseconds(spread: Spread | None) -> str:
    return "–" if spread is None else number(spread.median * 1000)


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    return f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"


def _left(case: Case) -> Sequence[str]:
    return [f"left out: {line}" for line in case.left_out]
