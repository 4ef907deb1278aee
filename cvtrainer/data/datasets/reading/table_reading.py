"""Table files of every kind become an Arrow table: CSV, TSV, Excel, JSON (lines), Parquet, Arrow.

What the columns mean is not decided here. Numbers written as text stay what they are: a column is
one of numbers only where every cell is one. Encodings are never guessed; a file that is not UTF-8
is refused with the encodings under which it could be read.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.text_files import decode_text, known_encoding
from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.index import Index
from cvtrainer.data.sample import BadSample

_BLOCK = 1 << 24
_NO_VALUE = ["", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "-NaN"]
_SEPARATORS = ",\t;|"


@dataclass(frozen=True)
class Reading:
    """What a file does not say itself."""

    sheet: str | int | None = None
    encoding: str | None = None
    separator: str | None = None
    decimal: str = "."


def read_table(path: Path, reading: Reading) -> pa.Table:
    """The table in that file; the ending says which kind it is."""
    reader = TABLE_READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"no table is read from {path.suffix or 'a file without ending'}",
            where=str(path),
            todo=f"Use {' '.join(TABLE_READERS)}."
            + (" Save it as .xlsx." if path.suffix.lower() == ".xls" else ""),
        )
    if not path.is_file():
        raise UserError("not a file" if path.exists() else "no such table file", where=str(path))
    try:
        table = reader(path, reading)
    except pa.ArrowInvalid as error:
        raise UserError(
            f"the table cannot be read ({str(error).splitlines()[0]})", where=str(path)
        ) from error
    if not table.num_rows:
        raise UserError("the table has no rows", where=str(path))
    return table


def as_text(path: Path, reading: Reading, table: pa.Table, names: Collection[str]) -> pa.Table:
    """The table with those columns as text: `007` is a name there, and not the number 7."""
    numeric = [name for name in names if not _is_text(table.schema.field(name).type)]
    written = path.suffix.lower() in _WRITTEN_AS_TEXT
    if numeric and written:
        options = arrow_csv.ConvertOptions(
            include_columns=numeric, column_types=dict.fromkeys(numeric, pa.string())
        )
        again = _read_csv(path, reading, options)
    for name in numeric:
        known = table.column(name)
        column = _as_written(again.column(name), known) if written else _texts(known)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _separated(path: Path, reading: Reading) -> pa.Table:
    names = _header(path, reading)
    options = arrow_csv.ConvertOptions(null_values=_NO_VALUE, decimal_point=reading.decimal)
    try:
        return _read_csv(path, reading, options)
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise
    types = dict.fromkeys(names, pa.string())
    table = _read_csv(path, reading, arrow_csv.ConvertOptions(column_types=types))
    return pa.table(
        [_sharpened(column, reading.decimal) for column in table.columns], table.column_names
    )


def _read_csv(path: Path, reading: Reading, options: arrow_csv.ConvertOptions) -> pa.Table:
    encoding = known_encoding(reading.encoding, str(path)) or "utf8"
    sign = _separator(path, reading)
    return arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK, encoding=encoding),
        parse_options=arrow_csv.ParseOptions(
            delimiter=sign,
            newlines_in_values=True,
            quote_char=False if sign == "\t" and _has_bare_quotes(path, encoding) else '"',
        ),
        convert_options=options,
    )


def _has_bare_quotes(path: Path, encoding: str) -> bool:
    """Whether a cell between tabs begins with a quote and ends without one, on full lines only.

    Then quotes are letters of the text, as in most sets of sentences, and hold no cells together.
    """
    found, tabs = False, -1
    with path.open(encoding=encoding, errors="replace", newline="\n") as lines:
        for line in lines:
            cells = line.rstrip("\r\n").split("\t")
            if tabs not in (-1, len(cells)) and any(cells):
                return False
            tabs = len(cells) if tabs < 0 else tabs
            found = found or ('"' in line and any(_is_open(cell) for cell in cells))
    return found


def _is_open(cell: str) -> bool:
    return cell.startswith('"') and (len(cell) < 2 or cell.count('"') % 2 == 1)


def _header(path: Path, reading: Reading) -> list[str]:
    """The names in the first line, once all of the file is known to be text."""
    if reading.decimal not in (".", ","):
        raise UserError(f"decimal: {reading.decimal!r}", where=str(path), todo="Use . or ,")
    if reading.encoding is None:
        _must_be_utf8(path)
    names = next(csv.reader([_first_line(path, reading)], delimiter=_separator(path, reading)), [])
    for name in names:
        if name.lower().endswith(IMAGE_EXTENSIONS) or _is_number(name):
            raise UserError(
                f"the first line holds {name!r}, which is no name of a column",
                where=str(path),
                todo="Put the names of the columns into the first line.",
            )
    return names


def _must_be_utf8(path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        decode_whole(path.read_bytes(), str(path), None)


def decode_whole(data: bytes, name: str, encoding: str | None) -> str:
    """The text of a file that is needed as a whole; what is wrong with it concerns the data set."""
    try:
        return decode_text(data, name, known_encoding(encoding, name))
    except BadSample as error:
        raise UserError(error.what, where=error.where, todo=error.todo) from error


def _first_line(path: Path, reading: Reading) -> str:
    with path.open(encoding=reading.encoding or "utf-8-sig", newline=None) as file:
        return file.readline().rstrip("\n")


def _separator(path: Path, reading: Reading) -> str:
    if reading.separator is not None:
        return {"tab": "\t", "comma": ","}.get(reading.separator, reading.separator)
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    outside_quotes = "".join(_first_line(path, reading).split('"')[::2])
    return max(_SEPARATORS, key=outside_quotes.count)


def _excel(path: Path, reading: Reading) -> pa.Table:
    try:
        import openpyxl
    except ImportError as error:
        raise UserError(
            "Excel files need openpyxl, which is not installed",
            where=str(path),
            todo='Run: pip install "cvtrainer[data]"',
        ) from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:
        raise UserError(f"not readable as an Excel file ({error})", where=str(path)) from error
    try:
        rows = list(_filled_rows(_sheet(book, path, reading.sheet)))
    finally:
        book.close()
    if not rows:
        raise UserError("the sheet is empty", where=str(path))
    header, *body = rows
    used = [k for k, name in enumerate(header) if name is not None]
    names = [str(header[k]) for k in used]
    return pa.table([_column([_plain(row[k]) for row in body]) for k in used], names)


def _sheet(book: Any, path: Path, wanted: str | int | None) -> Any:
    names = list(book.sheetnames)
    if wanted is None:
        full = [n for n in names if next(_filled_rows(book[n]), None) is not None]
        if len(full) > 1:
            raise UserError(
                f"{len(full)} sheets hold data: {', '.join(full)}",
                where=str(path),
                todo=f"Say which one, e.g. read: {{sheet: {full[0]}}}.",
            )
        return book[(full or names)[0]]
    if isinstance(wanted, int) and 0 <= wanted < len(names):
        return book[names[wanted]]
    if wanted not in names:
        raise UserError(
            f"no sheet {wanted!r}", where=str(path), todo=f"There is {', '.join(names)}."
        )
    return book[wanted]


def _filled_rows(sheet: Any) -> Any:
    """Rows with a value; sheets may claim a million empty ones."""
    for row in sheet.iter_rows(values_only=True):
        if any(value is not None for value in row):
            yield row


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else value.isoformat()


def _json(path: Path, reading: Reading) -> pa.Table:
    text = decode_whole(path.read_bytes(), str(path), reading.encoding)
    try:
        found = json.loads(text)
    except ValueError as error:
        if "Extra data" in str(error):
            return _json_lines(path, reading)
        raise UserError(f"not readable as JSON ({error})", where=str(path)) from error
    if isinstance(found, dict) and len(found) == 1:
        (found,) = found.values()
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        return _from_records(found)
    lengths = (
        {len(v) if isinstance(v, list) else -1 for v in found.values()}
        if isinstance(found, dict)
        else {-1}
    )
    if len(lengths) == 1 and lengths != {-1}:
        return pa.table([_column(values) for values in found.values()], list(found))
    raise UserError(
        "no table: neither a list of records nor columns of equal length", where=str(path)
    )


def _json_lines(path: Path, reading: Reading) -> pa.Table:
    import pyarrow.json as arrow_json

    if reading.encoding is None:
        try:
            options = arrow_json.ReadOptions(block_size=_BLOCK)
            return arrow_json.read_json(path, read_options=options)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    records = []
    text = decode_whole(path.read_bytes(), str(path), reading.encoding)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise UserError(f"not JSON ({error})", where=f"{path}:{number}") from error
        if not isinstance(records[-1], dict):
            raise UserError("not a record of names and values", where=f"{path}:{number}")
    return _from_records(records)


def _from_records(records: Sequence[dict[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = [_column([record.get(name) for record in records]) for name in names]
    return pa.table(columns, names)


def _parquet(path: Path, reading: Reading) -> pa.Table:
    import pyarrow.parquet as parquet

    return parquet.read_table(path, memory_map=True)


def _arrow(path: Path, reading: Reading) -> pa.Table:
    try:
        index = Index.open(path)
        return pa.table([index.column(name) for name in index.names], list(index.names))
    except UserError:
        return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array(
            [None if v is None else v if isinstance(v, str) else str(v) for v in values]
        )


def _sharpened(column: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """A column of texts as numbers, where all of them are."""
    empty = pc.is_in(column, value_set=pa.array(_NO_VALUE))
    cells = pc.if_else(empty, pa.scalar(None, pa.string()), column)
    if decimal != ".":
        cells = pc.replace_substring(cells, decimal, ".")
    for kind in (pa.int64(), pa.float64()):
        try:
            return cells.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def _as_written(texts: pa.ChunkedArray, numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Those texts, empty where no number is; `3.0` is `3` where all are whole numbers."""
    texts = pc.if_else(pc.is_valid(numbers), texts, pa.scalar(None, texts.type))
    whole = pc.match_substring_regex(texts, r"^\s*-?\d+(\.0*)?\s*$")
    if pa.types.is_floating(numbers.type) and pc.all(whole).as_py():
        return pc.replace_substring_regex(texts, r"\.0*\s*$", "")
    return texts


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as the shortest text: 3.0 is `3`, because spreadsheets know no whole numbers."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        with suppress(pa.ArrowInvalid):
            column = column.cast(pa.int64())
    return column if _is_text(column.type) else column.cast(pa.string())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_WRITTEN_AS_TEXT = (".csv", ".tsv", ".tab", ".txt")

TABLE_READERS: dict[str, Callable[[Path, Reading], pa.Table]] = {
    **dict.fromkeys(_WRITTEN_AS_TEXT, _separated),
    ".xlsx": _excel,
    ".xlsm": _excel,
    ".json": _json,
    **dict.fromkeys((".jsonl", ".ndjson"), _json_lines),
    **dict.fromkeys((".parquet", ".pq"), _parquet),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), _arrow),
}
