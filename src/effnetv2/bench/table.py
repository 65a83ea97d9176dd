"""Rows for a person: a rich table on a terminal, plain aligned lines elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a header, rows as long as the header, and lines below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the table as plain lines: words to the left, numbers to the right."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        return [self.title, *(
            "  ".join(_aligned(cell, width, numeric) for cell, width, numeric in
                      zip(row, widths, self._numeric(), strict=True)).rstrip()
            for row in (self.header, *self.rows)
        ), *self.notes]  # fmt: skip

    def show(self) -> None:
        """Print to standard output."""
        console = Console(highlight=False)
        if not console.is_terminal:
            print("\n".join(self.lines()), end="\n\n")
            return
        drawn = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for name, numeric in zip(self.header, self._numeric(), strict=True):
            drawn.add_column(name, justify="right" if numeric else "left")
        for row in self.rows:
            drawn.add_row(*row)
        console.print(drawn)
        for note in self.notes:
            console.print(note, markup=False)

    def _numeric(self) -> Sequence[bool]:
        """Say of each column whether it holds numbers."""
        return [
            all(cell[:1].isdigit() or cell in ("", "–") for cell in column)
            for column in zip(*self.rows, strict=True)
        ] or [False] * len(self.header)


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` to `digits` significant digits without an exponent; a dash for None."""
    if value is None:
        return "–"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:,.{max(0, digits - max(whole, 1))}f}"


def _aligned(cell: str, width: int, numeric: bool) -> str:
    return cell.rjust(width) if numeric else cell.ljust(width)
