"""Time series: files of many labelled series, long tables, and windows over long series."""

from cvtrainer.data.datasets.series.labelled import SERIES_EXTENSIONS, SeriesFile, SeriesTable
from cvtrainer.data.datasets.series.windows import SeriesWindows

__all__ = ["SERIES_EXTENSIONS", "SeriesFile", "SeriesTable", "SeriesWindows"]
