"""Plots of results as SVG files."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pygal
from pygal.style import CleanStyle

from tests.benchmarks.parts import Plot

# pygal adds an importer for its maps, of a kind that Python 3.12 dropped: each later import would warn.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

SMALLEST = 1e-3
"""A logarithmic axis has no zero."""

STYLE = CleanStyle(background="white", plot_background="white", font_family="sans-serif")


class Line(NamedTuple):
    name: str
    points: tuple[tuple[float, float], ...]


def line_plot(plot: Plot, lines: Sequence[Line], file: Path) -> None:
    """Write the lines to the file, the horizontal axis in powers of ten, and the vertical one if the plot says so."""
    values = [value for line in lines for _, value in line.points]
    scale = _powers(values) if plot.is_logarithmic else {"range": (0, max(values))}
    places = sorted({place for line in lines for place, _ in line.points})
    chart = pygal.XY(
        style=STYLE,
        title=plot.title,
        x_title=plot.horizontal,
        x_labels=[math.log10(place) for place in places],
        x_value_formatter=lambda power: f"{10**power:,.0f}",
        value_formatter=lambda value: f"{10**value if plot.is_logarithmic else value:g}",
        **scale,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        truncate_legend=-1,
        js=(),
        disable_xml_declaration=True,
        width=760,
        height=440,
    )
    chart.uuid = plot.file  # the same figures make the same file
    for line in lines:
        chart.add(line.name, [(math.log10(place), _height(plot, value)) for place, value in line.points])
    file.write_text(chart.render(is_unicode=True) + "\n", encoding="utf-8")


def _height(plot: Plot, value: float) -> float:
    return math.log10(max(value, SMALLEST)) if plot.is_logarithmic else value


def _powers(values: Sequence[float]) -> dict[str, Any]:
    """Return the vertical axis in whole powers of ten."""
    first = math.floor(math.log10(max(min(values), SMALLEST)))
    last = math.ceil(math.log10(max(*values, SMALLEST)))
    return {"range": (first, last), "y_labels": list(range(first, last + 1))}
