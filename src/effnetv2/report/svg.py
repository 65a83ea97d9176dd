"""A matplotlib figure as inline SVG that takes its colours and its font from the page."""

import html
import io
import re
import warnings
from contextlib import AbstractContextManager
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

# Matplotlib knows no CSS variables: each colour below only stands for one, and `inline` swaps it.
INK, MUTED, LINE = "#fa0001", "#fa0002", "#fa0003"
FIRST, SECOND = "#fa0004", "#fa0005"
HEAT, ON_HEAT = "#fa0006", "#fa0007"
_VARIABLES = {
    INK: "--ink", MUTED: "--muted", LINE: "--line", FIRST: "--first", SECOND: "--second",
    HEAT: "--heat", ON_HEAT: "--on-heat",
}  # fmt: skip
_LIGHT = {
    "--ink": "#1b1f24", "--muted": "#5b6470", "--line": "#dfe3e8", "--first": "#0068a8",
    "--second": "#c2540a", "--heat": "#2f7fc1", "--on-heat": "#ffffff",
}  # fmt: skip
"""As in page.css."""
_UNITS_PER_INCH = 72  # of the SVG backend, where a font's point is one unit too

_STYLE: dict[Any, Any] = {  # of str; matplotlib's types list every name since 3.11
    "svg.fonttype": "none",
    "svg.hashsalt": "effnetv2",  # equal runs write equal pages
    "text.parse_math": False,  # a class may be called "$5 and $10"
    "text.color": INK,
    "font.size": 11,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
}


def style() -> AbstractContextManager[None]:
    """Return the context in which a figure is made, drawn and written."""
    return rc_context(_STYLE)


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of `width` by `height` units; a font is 11 units high."""
    size = (width / _UNITS_PER_INCH, height / _UNITS_PER_INCH)
    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_visible(False)
    return figure


def inline(figure: Figure, name: str, label: str) -> str:
    """Return `figure` as an `<svg>` element.

    `name` keeps its ids apart from those of the page's other figures; `label` is read aloud in
    place of the picture.
    """
    for axes in figure.axes:
        axes.patch.set_visible(False)
    file = io.StringIO()
    with warnings.catch_warnings():
        # "Glyph missing": the reader's browser draws the letters, not matplotlib's font.
        warnings.simplefilter("ignore", UserWarning)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None, "matplotlib always writes a viewBox"
    body = text[text.index("</style>") :].split("</defs>", 1)[1]
    # Only inside of tags: between them stand the names of classes.
    body = re.sub(r"<[^>]*>", lambda tag: _adopted(tag[0], name), body)
    return f'<svg {box[0]} role="img" aria-label="{html.escape(label)}">{body}'


def standalone(figure: Figure, label: str) -> str:
    """Return `figure` as an SVG file of its own, in the page's light colours on white."""
    text = inline(figure, "figure", label)
    for variable, colour in _LIGHT.items():
        text = text.replace(f"var({variable})", colour)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert box is not None, "matplotlib's viewBox begins at 0 0"
    size = f'width="{box[1]}" height="{box[2]}" font-family="sans-serif"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    head, tail = text.removeprefix("<svg ").split(">", 1)
    return f"{start}{head}><title>{html.escape(label)}</title>{paper}{tail}\n"


def _adopted(tag: str, name: str) -> str:
    """Return a tag with the page's font and colours, and with ids of its own."""
    if tag.startswith("<g id="):
        return re.sub(r' id="[^"]*"', "", tag)  # nothing refers to a group
    tag = re.sub(r"\s*font(-family)?: [^;\"]*;?", _font_size, tag)
    tag = tag.replace("xlink:href", "href").replace(' id="', f' id="{name}-')
    tag = tag.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var({variable})")
    return tag


def _font_size(found: re.Match[str]) -> str:
    size = re.search(r"[\d.]+px", found[0])
    return f" font-size: {size[0]};" if size else ""
