"""Numbers and times as a reader says them; what is not known is a dash."""

from datetime import datetime

UNKNOWN = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in 0 to 1 as `91.0%`."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f}%"


def interval(bounds: tuple[float, float] | None) -> str:
    """Return two shares in 0 to 1 as `85.0–95.0%`."""
    return UNKNOWN if bounds is None else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f}%"


def decimal(number: float | None, digits: int = 3) -> str:
    """Return a number with a fixed count of decimals."""
    return UNKNOWN if number is None else f"{number:.{digits}f}"


def count(number: float | None) -> str:
    """Return a whole number with its thousands marked: `7,139,704`."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def short(number: float | None) -> str:
    """Return a large number in three digits and a letter: `7.14 M`."""
    if number is None:
        return UNKNOWN
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return f"{number:.3g}"


def duration(seconds: float | None) -> str:
    """Return a time in its two largest units: `8 min 32 s`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(time: datetime | None) -> str:
    """Return a time as `2026-11-22 15:00 UTC`."""
    return UNKNOWN if time is None else f"{time:%Y-%m-%d %H:%M %Z}".rstrip()
