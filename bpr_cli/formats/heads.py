"""What the first bytes of a file tell: whether it is a list of COCO results, without reading all of it."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

from bpr_cli.formats.json_files import GZIP, are_named_lines

HEAD_BYTES = 1 << 16  # of a file, and of what is compressed in it
PARQUET = b"PAR1"
IMAGE_ID = re.compile(r'"image_id"\s*:')


def is_parquet(path: Path) -> bool:
    """Whether a file is a Parquet table.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return stream.read(len(PARQUET)) == PARQUET


def are_results(path: Path) -> bool:
    """Whether a JSON file is, by its head, a list of COCO results, or JSON Lines of them.

    An empty list is one. What lies behind the first record is not looked at.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    text = _unpacked(head)
    if text.startswith("["):
        record, rest = _first_record(text[1:])
        return rest.startswith("]") if record is None else _is_result(record)
    if not text.startswith("{"):
        return False
    record, rest = _first_record(text)
    return _is_result(record) and (rest.startswith("{") or are_named_lines(path))


def _unpacked(head: bytes) -> str:
    """The text that a file begins with; nothing if it cannot be unpacked."""
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
        except zlib.error:
            return ""
    return head.decode(json.detect_encoding(head), "replace").lstrip("\ufeff \t\r\n")


def _first_record(text: str) -> tuple[Any, str]:
    """The object that a text begins with and what follows; a text that ends within it; None if there is none."""
    text = text.lstrip()
    if not text.startswith("{"):
        return None, text
    try:
        record, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return text, ""
    return record, text[end:].lstrip()


def _is_result(record: Any) -> bool:
    """Whether a record, or the beginning of one, is of an image."""
    if isinstance(record, str):
        return IMAGE_ID.search(record) is not None
    return isinstance(record, dict) and "image_id" in record
