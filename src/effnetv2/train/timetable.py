"""A plan as a person reads it: what its time and memory go into, and what it assumes."""

from rich import box
from rich.table import Table

from effnetv2.train.display import duration
from effnetv2.train.plan import Plan


def timetable(plan: Plan) -> Table:
    """Return what a plan's time and memory go into, a row a phase and a row for each other part."""
    title = (
        f"{plan.steps:,} steps, {plan.epochs:.1f} epochs in {duration(plan.seconds)} "
        f"of {duration(plan.pledge.seconds)}"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("what", "px", "batch", "steps", "s/step", "loading", "time", "peak memory"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    for i, row in enumerate(plan.rows, 1):
        memory = f"{row.peak_memory / 2**30:.2f} GiB" if row.peak_memory else "unknown"
        table.add_row(
            f"phase {i}", str(row.resolution), str(row.batch_size), f"{row.steps:,}",
            f"{row.compute_seconds_per_step:.3f}", f"{row.loading_seconds_per_step:.3f}",
            duration(row.seconds), memory,
        )  # fmt: skip
    shown = str(plan.recipe.preprocessing.resolution)
    for what, size, seconds in (
        ("start and measuring", "", plan.startup_seconds),
        (f"{plan.validations} validations", "", plan.validation_seconds),
        ("batch norm again", shown, plan.settling_seconds),
        ("last evaluation", shown, plan.evaluation_seconds),
        ("model and report", "", plan.closing_seconds),
    ):
        if seconds:
            table.add_row(what, size, "", "", "", "", duration(seconds), "")
    table.add_section()
    table.add_row("all", "", "", f"{plan.steps:,}", "", "", duration(plan.seconds), "")
    return table


def remarks(plan: Plan) -> list[str]:
    """Return what a plan changed and assumed, a line each."""
    return [*(f"note: {n}" for n in plan.notes), *(f"assumed: {a}" for a in plan.assumed)]
