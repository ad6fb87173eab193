"""XML documents: no document types, and so no entities that grow without end or reach for other files."""

from __future__ import annotations

import codecs
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from bpr_cli.errors import InputError
from bpr_cli.files import replacing

HEAD_BYTES = 1024
DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>\n'
WEB_PAGE = ("<!doctype html", "<html")


def is_xml(path: Path) -> bool:
    """Whether a file begins like XML, and is no web page."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return False
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = head.decode("utf-16" if wide else "utf-8-sig", "replace").lstrip().lower()
    return text.startswith("<") and not text.startswith(WEB_PAGE)


def load(path: Path) -> Element:
    """The root of the document in a file, with comments.

    Raises:
        InputError: it cannot be read, is broken, or has a document type.
    """
    try:
        data = path.read_bytes()
        _refuse_document_type(data, path)
        builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
        return ElementTree.fromstring(data, ElementTree.XMLParser(target=builder))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, remedy="Check the path") from error
    except InputError:  # a ValueError itself
        raise
    except (ElementTree.ParseError, expat.ExpatError, LookupError, ValueError) as error:
        raise InputError(f"not XML that can be read ({error})", file=path, remedy="Export it again") from error


class _RootReachedError(Exception):
    """The document type would have stood before."""


def _refuse_document_type(data: bytes, path: Path) -> None:
    def found_type(*_: object) -> None:
        raise InputError(
            "it has a document type (DOCTYPE), which no annotation tool writes",
            file=path,
            remedy="Remove it, if you trust the file",
        )

    def found_root(*_: object) -> None:
        raise _RootReachedError

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = found_type
    parser.StartElementHandler = found_root
    try:
        parser.Parse(data, True)
    except _RootReachedError:
        return


def dump(root: Element, out: Path) -> None:
    """Write a document in UTF-8; it appears whole or not at all.

    Raises:
        RecursionError: it is nested too deeply.
    """
    data = ElementTree.tostring(root, encoding="utf-8", xml_declaration=False, short_empty_elements=False)
    with replacing(out) as temporary:
        temporary.write_bytes(DECLARATION + data + b"\n")
