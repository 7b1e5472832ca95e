"""Plots of results as SVG files."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pygal
from pygal.style import CleanStyle

from tests.benchmarks.parts import Plot

# pygal adds an importer for its maps, of a kind that Python 3.12 dropped: each later import would warn.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

STYLE = CleanStyle(background="white", plot_background="white", font_family="sans-serif")


class Line(NamedTuple):
    name: str
    points: tuple[tuple[float, float], ...]


def line_plot(plot: Plot, lines: Sequence[Line], file: Path) -> None:
    """Write the lines to the file, the horizontal axis in powers of ten."""
    places = sorted({place for line in lines for place, _ in line.points})
    chart = pygal.XY(
        style=STYLE,
        title=plot.title,
        x_title=plot.horizontal,
        x_labels=[math.log10(place) for place in places],
        x_value_formatter=lambda power: f"{10**power:,.0f}",
        value_formatter=lambda value: f"{value:g}",
        range=(0, max(value for line in lines for _, value in line.points)),
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
        chart.add(line.name, [(math.log10(place), value) for place, value in line.points])
    file.write_text(chart.render(is_unicode=True) + "\n", encoding="utf-8")
