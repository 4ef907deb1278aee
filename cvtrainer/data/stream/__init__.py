"""Streams: the batches of an epoch, from any batch on, the same for whoever makes them."""

from cvtrainer.data.stream.listed import ListStream, rows_of
from cvtrainer.data.stream.loader import LoaderStream
from cvtrainer.data.stream.options import LoaderOptions

__all__ = ["ListStream", "LoaderOptions", "LoaderStream", "rows_of"]
