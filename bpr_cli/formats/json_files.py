"""JSON documents: plain, compressed by gzip (`.gz`), or JSON Lines, one record a line (`.jsonl`, `.ndjson`)."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.files import check_file_output, replacing
from bpr_cli.formats.fields import described
from bpr_cli.formats.foreign import Foreign, foreign_bytes

WRITE_AGAIN = "Write the file again"
CUT = "The file ends too early: copy or download it again, or write it again"
GZIP = b"\x1f\x8b"
LINES = (".jsonl", ".ndjson")
# What a compressed file may hold for each of its bytes; JSON of RLE comes to 3 or 4, of polygons to 10.
MOST_EXPANSION = 200
WEIGHED_FROM = 64 << 20  # bytes; smaller documents may have been compressed to next to nothing


def load(path: Path) -> Any:
    """The document in a file; JSON Lines are a list. Which form it has is seen from the content, not from its name.

    Raises:
        InputError: it cannot be read, or is not JSON; what it is instead is named where it is known.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, remedy="Check the path") from error
    if data.startswith(GZIP):
        data = _unpacked(data, path)
    if not data or data.isspace():
        raise InputError("not valid JSON (line 1, column 1: the file is empty)", file=path, remedy=WRITE_AGAIN)
    try:
        # Bytes: a byte order mark and UTF-16, as PowerShell writes it, are understood.
        document = json.loads(data, object_pairs_hook=_object)
    except _DuplicateKeyError as error:
        key = described(error.args[0])
        raise InputError(f"an object has the key {key} twice", file=path, remedy="Keep one of them") from error
    except json.JSONDecodeError as error:
        if _are_lines(data):
            return list(_lines(data, path))
        refuse(foreign_bytes(data), path)
        cut = not error.doc[error.pos :].strip() or error.msg.startswith("Unterminated string")
        raise InputError(
            f"not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})",
            file=path,
            remedy=CUT if cut else WRITE_AGAIN,
        ) from error
    except UnicodeDecodeError as error:
        refuse(foreign_bytes(data), path)
        raise InputError("not a text file in UTF-8", file=path, remedy="Give a COCO JSON file") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; lists in lists without end
        raise InputError(f"not JSON that can be read ({error})", file=path, remedy=WRITE_AGAIN) from error
    is_line = are_named_lines(path) and isinstance(document, dict) and "image_id" in document
    return [document] if is_line else document


def check_output(path: Path, out: Path, document: Any) -> None:
    """Make sure that `dump` could write the document, read from `path`, to `out`.

    Raises:
        InputError: as `check_file_output`, or its name asks for JSON Lines where the document is no list, or Parquet.
    """
    if out.suffix.lower() == ".parquet":
        raise InputError("JSON is written as JSON, not as Parquet", file=out, remedy="Name it .json with -o")
    if are_named_lines(out) and not isinstance(document, list):
        raise InputError("JSON Lines hold a list of results, not a dataset", file=out, remedy="Name it .json with -o")
    check_file_output(path, out, "a JSON")


def dump(document: Any, out: Path, indent: int | None = None) -> None:
    """Write a document in the form that the file's name asks for; it appears whole or not at all.

    Args:
        document: a list for JSON Lines.
        out: the file.
        indent: spaces of each level; None: all in one line.

    Raises:
        RecursionError: it is nested too deeply.
    """
    # json.dumps is many times as fast as json.dump, which writes in Python.
    lines = are_named_lines(out)
    text = "".join(f"{json.dumps(record)}\n" for record in document) if lines else json.dumps(document, indent=indent)
    data = text.encode()
    if out.suffix.lower() == ".gz":
        data = gzip.compress(data, mtime=0)  # without a time: the same document is the same file
    with replacing(out) as temporary:
        temporary.write_bytes(data)


def refuse(found: Foreign | None, path: Path) -> None:
    """InputError that says what a file is, if that is known."""
    if found is not None:
        raise InputError(f"this is {found.name}", file=path, remedy=found.remedy)


def are_named_lines(path: Path) -> bool:
    """Whether a file is named as JSON Lines are."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(LINES)


def _unpacked(data: bytes, path: Path) -> bytes:
    """What gzip compressed, unless it is more than any JSON could be."""
    most = max(WEIGHED_FROM, MOST_EXPANSION * len(data))
    parts: list[bytes] = []
    size = 0
    try:
        while data:
            unpacker = zlib.decompressobj(wbits=31)  # gzip's headers
            parts.append(unpacker.decompress(data, most - size + 1))
            size += len(parts[-1])
            if size > most:
                raise InputError("it unpacks to more than any JSON would", file=path, remedy="Check the file")
            if not unpacker.eof:
                raise InputError("the gzip archive is cut off", file=path, remedy=CUT)
            data = unpacker.unused_data.lstrip(b"\x00")
    except zlib.error as error:
        raise InputError(f"the gzip archive is broken ({error})", file=path, remedy=WRITE_AGAIN) from error
    return b"".join(parts)


def _are_lines(data: bytes) -> bool:
    """Whether the first line is a JSON object by itself, and another follows."""
    first, _, rest = data.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if not first.startswith(b"{") or not rest.lstrip().startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):  # an object over several lines, or no JSON at all
        return False


def _lines(data: bytes, path: Path) -> Iterator[Any]:
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line.decode(errors="surrogatepass"), object_pairs_hook=_object)
        except _DuplicateKeyError as error:
            problem = f"line {number}: an object has the key {described(error.args[0])} twice"
            raise InputError(problem, file=path, remedy="Keep one of them") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"line {number} is not valid JSON ({error})", file=path, remedy=WRITE_AGAIN) from error


class _DuplicateKeyError(Exception):
    """A JSON object says two things under one key; its argument."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(next(key for key in keys if keys.count(key) > 1))
    return found
