"""Broken versions of good bytes: mutations that know the format, and mutations that know nothing.

Each takes bytes and a seeded `random.Random`, and gives bytes. Those that know a format keep its checksums right, so
that a reader gets past them.
"""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Mutation = Callable[[bytes, random.Random], bytes]

CHANGES = (1, 1, 1, 1, 2, 4)  # in one input; one of these is drawn
NUMBERS = (0, -1, 1, 2, 7, 255, 65535, 40000, 2**31 - 1, 2**31, 2**32, 2**63, 10**400, 0.5, -0.0, 1e308, 1e-320)
NOT_FINITE = (float("nan"), float("inf"), -float("inf"))
TEXTS = (
    "",
    " ",
    "1",
    "-1",
    "854",
    "1.5",
    "null",
    "a/b",
    "..",
    "../1.jpg",
    "/",
    "\0",
    "é",
    "e\u0301",
    "\ud800",
    "x" * 5000,
)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    [0],
    {"a": 0},
    {"size": [40000, 40000], "counts": [1600000000]},
)


def bytes_at_random(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut, doubled, moved or put in; or the file's end missing."""
    changed = bytearray(data)
    for _ in range(rng.choice(CHANGES)):
        start = rng.randrange(len(changed) + 1)
        length = min(len(changed) - start, rng.choice((1, 1, 1, 2, 4, 16, 100)))
        match rng.randrange(7):
            case 0 | 1:
                changed[start : start + length] = rng.randbytes(length)
            case 2:
                changed[start : start + length] = bytes([rng.choice((0, 255, 127, 128))]) * length
            case 3:
                del changed[start : start + length]
            case 4:
                changed[start:start] = changed[start : start + length] * rng.choice((1, 1, 50))
            case 5:
                changed[start:start] = rng.randbytes(length)
            case 6:
                del changed[start:]
    return bytes(changed)


def text_lines(data: bytes, rng: random.Random) -> bytes:
    """Lines and words of a text exchanged, doubled, removed or replaced by odd ones; sometimes in another encoding."""
    lines = data.decode(errors="replace").splitlines()
    for _ in range(rng.choice(CHANGES)):
        if not lines:
            break
        at = rng.randrange(len(lines))
        words = lines[at].split(" ")
        word = rng.randrange(len(words))
        match rng.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 2:
                words[word] = rng.choice((*TEXTS, *map(repr, NUMBERS), "nan", "inf", "1e999", '"', "[", "=", "{}"))
                lines[at] = " ".join(words)
            case 3:
                words[word] = _odd_text(words[word], rng)
                lines[at] = " ".join(words)
            case 4:
                del words[word]
                lines[at] = " ".join(words)
            case 5:
                lines[at] = rng.choice(
                    ("", "#", "\t", "\ufeff" + lines[at], lines[at] * 100, lines[at].replace("/", "\\"))
                )
    return _encoded(rng.choice(("\n", "\n", "\n", "\r\n", "\r")).join(lines) + "\n", rng)


def json_tree(data: bytes, rng: random.Random) -> bytes:
    """Values of a JSON document replaced by odd ones, removed, doubled, exchanged or moved."""
    document = json.loads(data)
    for _ in range(rng.choice(CHANGES)):
        document = changed_tree(document, rng)
    return _encoded(json.dumps(document, ensure_ascii=rng.random() < 0.9), rng)


def json_lines(data: bytes, rng: random.Random) -> bytes:
    """As `json_tree` of some lines, and lines removed, doubled or cut."""
    lines = data.splitlines()
    for at in rng.sample(range(len(lines)), min(len(lines), rng.choice(CHANGES))):
        mutate = rng.choice((json_tree, json_tree, bytes_at_random, lambda line, _: line * 2, lambda *_: b""))
        lines[at] = mutate(lines[at], rng)
    return b"\n".join(lines) + rng.choice((b"", b"\n"))


def changed_tree(document: Any, rng: random.Random) -> Any:
    """The tree of dicts and lists with one node changed."""
    document = copy.deepcopy(document)
    if not isinstance(document, (dict, list)) or not document:
        return rng.choice(ODD)
    parent, key = _place(document, rng)
    value = parent[key]
    match rng.randrange(8):
        case 0:
            parent[key] = rng.choice((*NUMBERS, *NOT_FINITE, *TEXTS, *ODD))
        case 1 | 2 | 3:
            parent[key] = _odd_like(value, rng)
        case 4:
            del parent[key]
        case 5:
            other, other_key = _place(document, rng)
            parent[key] = copy.deepcopy(other[other_key])
        case 6:
            parent[key] = [value]
        case 7 if isinstance(parent, dict):
            parent[str(rng.choice((*TEXTS, f"{key}s", f"_{key}")))] = parent.pop(key)
        case 7:
            parent.insert(key, copy.deepcopy(value))
    return document


def _place(node: Any, rng: random.Random) -> tuple[Any, Any]:
    """Parent and key of a value: down from the root, by a child at random, so that long lists do not get it all."""
    while True:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        child = node[key]
        if not isinstance(child, (dict, list)) or not child or rng.random() < 0.2:
            return node, key
        node = child


def _odd_like(value: Any, rng: random.Random) -> Any:
    """A value that nearly is one: of another type, or one off."""
    if isinstance(value, str):
        return _odd_text(value, rng)
    if isinstance(value, (bool, int, float)):
        return rng.choice((str(value), -value, value + 1, value * 1000, float(value), bool(value), [value], value / 3))
    if isinstance(value, list):
        return rng.choice(
            (value[:-1], value + value, value[::-1], [value], list(map(str, value)), dict(enumerate(value)))
        )
    if isinstance(value, dict):
        return rng.choice((list(value), list(value.values()), {}, [value], dict.fromkeys(value)))
    return rng.choice(ODD)


def _odd_text(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    put_in = rng.choice(("", chr(rng.randrange(32, 127)), chr(rng.randrange(128, 0x3000)), "\0", "0" * 50, "o" * 9))
    return text[:at] + put_in + text[at + rng.choice((0, 1, 1, 5, 1000)) :]


def _encoded(text: str, rng: random.Random) -> bytes:
    encoding = rng.choice(("utf-8",) * 50 + ("utf-8-sig", "utf-16", "utf-32", "latin-1"))
    return text.encode(encoding, errors="replace" if encoding == "latin-1" else "surrogatepass")


def png_chunks(data: bytes, rng: random.Random) -> bytes:
    """Chunks changed, removed, doubled, exchanged or put in, with right checksums, so that decoders believe them."""
    chunks = _png_chunks(data)
    for _ in range(rng.choice(CHANGES)):
        at = rng.randrange(len(chunks))
        kind, body = chunks[at]
        match rng.randrange(6):
            case 0 | 1:
                chunks[0] = (b"IHDR", _odd_header(chunks[0][1], rng))
            case 2:
                chunks[at] = (kind, bytes_at_random(body, rng))
            case 3:
                chunks.insert(at, chunks[rng.randrange(len(chunks))])
            case 4:
                chunks.insert(max(1, at), rng.choice(_ODD_CHUNKS))
            case 5 if len(chunks) > 1:
                del chunks[at]
    lie = rng.choice((0, 0, 0, 0, 0, -1, 1, 2**20, 2**32))
    told = rng.randrange(len(chunks))
    parts = []
    for position, (kind, body) in enumerate(chunks):
        length = min(max(0, len(body) + (lie if position == told else 0)), 2**32 - 1)
        parts.append(struct.pack(">I", length) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return data[:8] + b"".join(parts)


_ODD_CHUNKS = (
    (b"acTL", struct.pack(">II", 2**31, 0)),
    (b"fcTL", struct.pack(">IIIIIHHBB", 0, 56, 40, 0, 0, 1, 1, 0, 0)),
    (b"tRNS", b"\0"),
    (b"tRNS", b"\0\1" * 200),
    (b"PLTE", b"\1\2\3\4"),
    (b"gAMA", b"\0\0\0\0"),
    (b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x08\0\0\0\0\0\0"),
    (b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 10**7)),
    (b"zTXt", b"x\0\0" + zlib.compress(b"a" * 10**7)),
    (b"IDAT", zlib.compress(b"\0" * 10**7)),
    (b"IEND", b""),
)


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _odd_header(header: bytes, rng: random.Random) -> bytes:
    width, height, *rest = struct.unpack(">IIBBBBB", header.ljust(13, b"\0")[:13])
    sides = (0, 1, width ^ 1, 15000, 46341, 65536, 2**31 - 1, 2**32 - 1)
    width, height = (rng.choice((side, rng.choice(sides))) for side in (width, height))
    rest[rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return struct.pack(">IIBBBBB", width, height, *rest)


def jpeg_segments(data: bytes, rng: random.Random) -> bytes:
    """Sizes, components and tables of a JPEG changed; its middle damaged; its end cut and closed again."""
    changed = bytearray(data)
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    match rng.randrange(5):
        case 0:
            at = frame + rng.choice((4, 5, 6, 7, 8, 9, 10, 11, 12))
            changed[at] = rng.choice((0, 1, 2, 4, 8, 12, 16, 255))
        case 1:
            markers = [at for at in range(2, len(data) - 4) if data[at] == 255 and 0xC0 <= data[at + 1] < 0xFF]
            at = rng.choice(markers)
            changed[at + rng.choice((1, 2, 3, 4, 5))] = rng.randrange(256)
        case 2:
            at = rng.randrange(data.find(b"\xff\xda"), len(data))
            changed[at : at + 40] = rng.randbytes(40)
        case 3:
            return data[: rng.randrange(4, len(data))] + b"\xff\xd9"
        case 4:
            exif = (
                b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1"
                + struct.pack(">H", rng.choice((0, 3, 6, 8, 9)))
                + bytes(6)
            )
            exif = rng.choice((exif, bytes_at_random(exif, rng)))[:60000]
            return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    return bytes(changed)


def tiff_entries(data: bytes, rng: random.Random) -> bytes:
    """Entries of a TIFF's first directory changed: tags, types, counts and values."""
    changed = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    for _ in range(rng.choice(CHANGES)):
        entry = directory + 2 + 12 * rng.randrange(count)
        match rng.randrange(4):
            case 0:
                struct.pack_into(order + "H", changed, entry, rng.choice((256, 257, 258, 259, 262, 277, 284, 320, 339)))
            case 1:
                struct.pack_into(order + "H", changed, entry + 2, rng.randrange(14))
            case 2:
                struct.pack_into(order + "I", changed, entry + 4, rng.choice((0, 1, 2, 3, 1000, 2**31, 2**32 - 1)))
            case 3:
                struct.pack_into(
                    order + "I", changed, entry + 8, rng.choice((0, 1, 2, 3, 8, 16, 32, 40000, 2**31, 2**32 - 1))
                )
    return bytes(changed)


def riff_sizes(data: bytes, rng: random.Random) -> bytes:
    """Sizes in the header of a WebP changed."""
    changed = bytearray(data)
    at = rng.choice((4, 16, 21, 23, 24, 26, 27, 28))
    changed[at : at + 2] = rng.choice((b"\0\0", b"\xff\xff", b"\xff\x3f", rng.randbytes(2)))
    return bytes(changed)


def tar_members(data: bytes, rng: random.Random) -> bytes:
    """Members of a tar renamed, removed, doubled, of another kind, of an untrue size, or with broken content."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    at = rng.randrange(len(members))
    info, content = members[at]
    header_lie = None
    match rng.randrange(8):
        case 0 | 1:
            members[at] = (info, _broken_content(info.name, content, rng))
        case 2:
            info.name = rng.choice(
                (_odd_text(info.name, rng), *TEXTS[:-1], "a" * 300, "/etc/passwd", "../" + info.name)
            )
        case 3:
            info.type = rng.choice((b"1", b"2", b"3", b"5", b"6", b"7", b"L", b"K", b"x", b"g", b"S", b"Z"))
            info.linkname = rng.choice((info.name, members[0][0].name, "/dev/zero", "nothing", ""))
            content = rng.choice((b"", content))
            members[at] = (info, content)
        case 4:
            del members[at]
        case 5:
            members.insert(rng.randrange(len(members)), (info, content))
        case 6:
            header_lie = rng.choice(
                (b"77777777777\0", b"00000000000\0", b"-0000000001\0", b"abc\0", b"\x80" + b"\xff" * 11)
            )
        case 7:
            rng.shuffle(members)
    return _tar(members, at, header_lie)


def _broken_content(name: str, content: bytes, rng: random.Random) -> bytes:
    knowing = json_tree if name.endswith("json") else png_chunks
    return rng.choice((knowing, knowing, bytes_at_random, lambda *_: b"", lambda data, _: data[: len(data) // 2]))(
        content, rng
    )


def _tar(members: list[tuple[tarfile.TarInfo, bytes]], lying: int, size: bytes | None) -> bytes:
    """The archive; the header of one member states another size, with a right checksum."""
    parts = []
    for position, (info, content) in enumerate(members):
        info.size = len(content)
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT, errors="surrogatepass"))
        if size is not None and position == lying:
            last = header[-512:]
            last[124:136] = size.ljust(12, b"\0")
            last[148:156] = b" " * 8
            last[148:156] = b"%06o\0 " % sum(last)
            header[-512:] = last
        parts.append(bytes(header) + content + bytes(-len(content) % 512))
    return b"".join(parts) + bytes(1024)


def safetensors_header(data: bytes, rng: random.Random) -> bytes:
    """The header's JSON, or its stated length, changed; what follows stays."""
    (length,) = struct.unpack_from("<Q", data)
    header, rest = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.2:
        return struct.pack("<Q", rng.choice((0, 1, length - 1, length + 1, 2**40, 2**64 - 1))) + header + rest
    header = json_tree(header, rng)
    return struct.pack("<Q", len(header)) + header + rest


def safetensors_config(data: bytes, rng: random.Random) -> bytes:
    """The model's config in the header of a single file changed."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    config = json_tree(header["__metadata__"]["bpr"].encode(), rng).decode(errors="replace")
    changed = json.dumps({**header, "__metadata__": {"bpr": config}}).encode()
    return struct.pack("<Q", len(changed)) + changed + data[8 + length :]


def torch_tree(data: bytes, rng: random.Random) -> bytes:
    """What torch.save wrote, with entries removed, exchanged, or replaced by odd ones and by other tensors."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    for _ in range(rng.choice(CHANGES)):
        parent, key = _place(content, rng) if isinstance(content, (dict, list)) and content else (None, None)
        if isinstance(parent, (dict, list)) and isinstance(parent[key], Tensor):
            parent[key] = _odd_tensor(parent[key], rng)
        else:
            content = changed_tree(content, rng)
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=rng.random() < 0.9)
    return stream.getvalue()


def _odd_tensor(tensor: Tensor, rng: random.Random) -> Tensor:
    odd: tuple[Callable[[], Tensor], ...] = (
        lambda: tensor[..., :0] if tensor.ndim else tensor.reshape(1),
        lambda: tensor.double(),
        lambda: tensor.to(torch.int8),
        lambda: tensor.to(torch.complex64),
        lambda: tensor.reshape(-1),
        lambda: tensor.float() * float("nan"),
        lambda: tensor.float().to_sparse(),
        lambda: torch.zeros(1).expand(2**40),
        lambda: torch.tensor(3),
    )
    return rng.choice(odd)()
