"""A Parquet table of COCO results, a row each. Only the columns that say something of masks become Python's objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpr_cli.errors import InputError, to_install
from bpr_cli.files import check_file_output, replacing
from bpr_cli.formats import coco, heads
from bpr_cli.formats.records import ReadOptions, Results
from bpr_cli.formats.rle import RLE, check_rle
from bpr_cli.notices import warn_of_input

if TYPE_CHECKING:
    import pyarrow as pa

ENDING = ".parquet"
SEGMENTATION = "segmentation"
CHANGED = (SEGMENTATION, "bbox", "area")  # columns that follow the mask
COLUMNS = ("image_id", "category_id", "score", "iscrowd", "file_name", *CHANGED)
NO_POLYGON = "a mask that no polygon can outline, in a column of polygons; left as it was"


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A table that was read; columns that are not ours stay as they were.

    Attributes:
        path: where it was read.
        table: as read.
        records: a row each, of `COLUMNS`; keys where there is no value are left out.
        compression, rows: codec, and rows of a group, as the file has them.
    """

    path: Path
    table: pa.Table
    records: list[dict[str, Any]]
    compression: str
    rows: int

    def check_output(self, out: Path) -> None:
        """InputError unless the table could be written to `out`."""
        if out.suffix.lower() != ENDING:
            raise InputError("a Parquet table is written as one", file=out, remedy="Name it .parquet with -o")
        check_file_output(self.path, out, "a Parquet")

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`. `bbox` and `area`, where a row has them, follow the new mask."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.check_output(out)
        new = {
            row: updated
            for row, rle in enumerate(segmentations)
            if rle is not None and (updated := self._updated(self.records[row], rle)) is not None
        }
        table = self.table
        for place, field in enumerate(table.schema):
            if field.name in CHANGED:
                values = table.column(place).to_pylist()
                for row, record in new.items():
                    values[row] = record.get(field.name)
                table = table.set_column(place, field, pa.array(values, field.type))
        with replacing(out) as temporary:
            pq.write_table(table, temporary, compression=self.compression, row_group_size=self.rows)

    def _updated(self, record: dict[str, Any], rle: RLE) -> dict[str, Any] | None:
        """The row with a new mask; None if its column cannot hold that."""
        kind = self.table.schema.field(SEGMENTATION).type
        new = coco.with_mask(record, rle, "same")
        if _are_polygons(kind) and not isinstance(new[SEGMENTATION], list):
            warn_of_input(NO_POLYGON, self.path)
            return None
        return {**new, SEGMENTATION: _as_column(new[SEGMENTATION], kind)}


def is_table(path: Path) -> bool:
    """Whether a file is a Parquet table; what cannot be read is none."""
    try:
        return path.is_file() and heads.is_parquet(path)
    except OSError:
        return False


def check_installed(path: Path) -> None:
    """InputError if Parquet cannot be read here."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        problem = "this is a Parquet table, which needs pyarrow"
        raise InputError(problem, file=path, remedy=to_install("parquet")) from error


def read(path: Path, options: ReadOptions) -> Results:
    """Read a table of results.

    Args:
        path: with the columns image_id and segmentation at least. A segmentation is a struct of size and counts, a list
            of polygons, or JSON text of either.
        options: `skip_bad` leaves out rows that cannot be used.

    Raises:
        InputError: pyarrow is missing, the file is broken, columns are missing or of another type, or a row cannot be
            used.
    """
    check_installed(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table, about = file.read(), file.metadata
    except (pa.ArrowException, OSError) as error:
        problem = f"not a Parquet table that can be read ({str(error).splitlines()[0][:200]})"
        raise InputError(problem, file=path, remedy="Write the file again") from error
    _check_columns(table.schema, path)
    columns = {name: table.column(name).to_pylist() for name in COLUMNS if name in table.column_names}
    if _is_text(table.schema.field(SEGMENTATION).type):
        columns[SEGMENTATION] = [None if text is None else _parsed(text) for text in columns[SEGMENTATION]]
    records = [
        {name: values[row] for name, values in columns.items() if values[row] is not None}
        for row in range(table.num_rows)
    ]
    group = about.row_group(0) if about.num_row_groups else None
    compression = "snappy" if group is None else group.column(0).compression
    rows = max(1, table.num_rows if group is None else group.num_rows)
    return replace(coco.read(records, path, options), source=ParquetFile(path, table, records, compression, rows))


def _check_columns(schema: pa.Schema, path: Path) -> None:
    """InputError unless there are the columns that are needed, of types that can be written again."""
    import pyarrow as pa

    for name in COLUMNS:
        count = schema.names.count(name)
        if count > 1 or (count == 0 and name in ("image_id", SEGMENTATION)):
            problem = f"there are {count} columns {name}" if count else f"there is no column {name}"
            raise InputError(problem, file=path, remedy="See examples/FORMATS.md for the columns of results")
    kind = schema.field(SEGMENTATION).type
    if not (_is_text(kind) or _is_rle(kind) or _are_polygons(kind)):
        raise InputError(
            f"the column {SEGMENTATION} is of the type {kind}",
            file=path,
            remedy="Write size and counts, lists of polygons in floats, or JSON text",
        )
    for name in ("bbox", "area"):
        if name in schema.names:
            kind = _item(schema.field(name).type) if name == "bbox" else schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise InputError(
                    f"the column {name} is of the type {schema.field(name).type}", file=path, remedy="Write numbers"
                )


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_rle(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if not pa.types.is_struct(kind) or kind.get_field_index("size") < 0 or kind.get_field_index("counts") < 0:
        return False
    counts = kind.field("counts").type
    is_bytes = pa.types.is_binary(counts) or pa.types.is_large_binary(counts)
    return pa.types.is_integer(_item(kind.field("size").type)) and (
        _is_text(counts) or is_bytes or pa.types.is_integer(_item(counts))
    )


def _are_polygons(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_floating(_item(_item(kind)))


def _item(kind: pa.DataType) -> pa.DataType:
    """The type of a list's items; null of what is no list."""
    import pyarrow as pa

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind.value_type if is_list else pa.null()


def _parsed(text: str) -> Any:
    """JSON's value; other text as it is, of which decoding will say that it is no segmentation."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _as_column(value: Any, kind: pa.DataType) -> Any:
    """A new segmentation as its column has it: polygons, text, or RLE with counts in one of three forms."""
    import pyarrow as pa

    if _is_text(kind):
        return json.dumps(value)
    if _are_polygons(kind):
        return value
    counts = kind.field("counts").type
    if _is_text(counts):
        return value
    if pa.types.is_binary(counts) or pa.types.is_large_binary(counts):
        return {**value, "counts": value["counts"].encode("ascii")}
    return {**value, "counts": check_rle(value, *value["size"])[1].tolist()}
