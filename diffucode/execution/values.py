"""Plain Python data as tagged bytes: the only thing that crosses the wall of the sandbox.

Never ``repr``, ``pickle`` or ``marshal``: those run or trust what they read. A value is written only if
its type *is* one of the types below (``type(x) is int``; a subclass may lie in any of its methods), and
reading builds nothing else, in bounded time and memory, whoever wrote the bytes.

    value    = N | T | F | i size bytes | d 8 bytes | c 16 bytes | u size bytes (str, UTF-8 with surrogates)
             | b size bytes (bytes) | a size bytes (bytearray)
             | l items (list) | t items (tuple) | s items (set) | f items (frozenset) | m items items (dict)
    items    = count kind payload       kind v: one value after another
                                        kind q, d, ?: all int64, all float, all bool; a packed array
                                        kind u: all str; 4-byte sizes, then the texts
    size, count = LEB128;  integers are little-endian two's complement;  floats are IEEE bits

The standard library's own dictionaries (Counter, defaultdict, OrderedDict) are written as ``dict``: they
equal one. A ``range`` is not data: a few bytes of it are a loop without end.

Standard library only, and nothing of this package: the runner inside the sandbox loads this file by its
path. That side may have been tampered with; reading is safe whatever it wrote.
"""

from __future__ import annotations

import struct
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple


class Limit(NamedTuple):
    """How much one value may be. A value over any of these is neither written nor read."""

    size: int = 32 << 20
    """Encoded bytes."""
    items: int = 2_000_000
    """Values in all, those inside containers included; what bounds the reader's memory."""
    depth: int = 100
    """Containers around a value; a container that holds itself ends here."""
    hashing: float = 0.25
    """CPU seconds the reader spends on building sets and dicts: keys may be made to collide."""


DEFAULT = Limit()


class Unencodable(ValueError):
    """A value that is not plain data, or too much of it; the message names the type or the limit."""


class Undecodable(ValueError):
    """Bytes that are not one encoded value within the limits."""


def encode(value: object, limit: Limit = DEFAULT) -> bytes:
    """The bytes of one plain value; raises Unencodable."""
    encoder = _Encoder(limit)
    encoder.value(value, 0)
    return bytes(encoder.out)


def decode(data: bytes, limit: Limit = DEFAULT) -> Any:
    """The value of these bytes, all of them; raises Undecodable."""
    if len(data) > limit.size:
        raise Undecodable(f"{len(data)} bytes, the limit is {limit.size}")
    decoder = _Decoder(data, limit)
    value = decoder.value(0)
    if decoder.at != len(data):
        raise Undecodable(f"{len(data) - decoder.at} bytes after the value")
    return value


def distinct(keys: Sequence[Any], seconds: float = DEFAULT.hashing) -> dict[Any, None]:
    """The distinct keys, in order, as those of a dict.

    Raises Undecodable when one cannot be hashed, or when that takes more than ``seconds`` of CPU time:
    n keys with the same hash, which integers and tuples can be given, cost n² comparisons.
    """
    table: dict[Any, None] = {}
    end = time.thread_time() + seconds
    for first in range(0, len(keys), _HASH_CHUNK):
        try:
            table.update(dict.fromkeys(keys[first : first + _HASH_CHUNK]))
        except TypeError:
            raise Undecodable("an unhashable key") from None
        if time.thread_time() > end:
            raise Undecodable(f"keys that take more than {seconds:.1f} s to hash")
    return table


_PACK_FROM = 4  # shorter lists gain nothing from a packed array
_HASH_CHUNK = 100  # keys between two looks at the clock
_TYPE_NAME = type.__dict__["__name__"]  # read past a metaclass that answers for itself


class _Encoder:
    __slots__ = ("items", "limit", "out")

    def __init__(self, limit: Limit) -> None:
        self.out = bytearray()
        self.limit = limit
        self.items = 0

    def value(self, value: Any, depth: int) -> None:
        """Append one value. A chain of ``is``: a dict of types would ask a metaclass for its hash."""
        self.count(1)
        kind = type(value)
        if value is None:
            self.out += b"N"
        elif kind is bool:
            self.out += b"T" if value else b"F"
        elif kind is int:
            size = value.bit_length() // 8 + 1
            self.tagged(b"i", size)
            self.out += value.to_bytes(size, "little", signed=True)
        elif kind is str:
            self.room(len(value))
            text = value.encode("utf-8", "surrogatepass")
            self.tagged(b"u", len(text))
            self.out += text
        elif kind is float:
            self.out += struct.pack("<cd", b"d", value)
        elif kind is list:
            self.container(b"l", tuple(value), depth)
        elif kind is tuple:
            self.container(b"t", value, depth)
        elif kind is dict or kind is Counter or kind is defaultdict or kind is OrderedDict:
            pairs = tuple(dict.items(value))
            self.container(b"m", tuple(key for key, _ in pairs), depth)
            self.sequence(tuple(held for _, held in pairs), depth + 1)
        elif kind is set:
            self.container(b"s", tuple(value), depth)
        elif kind is frozenset:
            self.container(b"f", tuple(value), depth)
        elif kind is bytes or kind is bytearray:
            self.tagged(b"b" if kind is bytes else b"a", len(value))
            self.out += value
        elif kind is complex:
            self.out += struct.pack("<cdd", b"c", value.real, value.imag)
        else:
            raise Unencodable(f"{_TYPE_NAME.__get__(kind)[:100]} is not plain data")
        self.room(0)

    def container(self, tag: bytes, items: tuple[Any, ...], depth: int) -> None:
        self.out += tag
        self.sequence(items, depth + 1)

    def sequence(self, items: tuple[Any, ...], depth: int) -> None:
        if depth > self.limit.depth:
            raise Unencodable(
                f"containers deeper than {self.limit.depth}, or one that holds itself"
            )
        self.size(len(items))
        if len(items) >= _PACK_FROM and self.packed(items):
            return
        self.out += b"v"
        for item in items:
            self.value(item, depth)

    def packed(self, items: tuple[Any, ...]) -> bool:
        """Append the items as one array if they are all of one simple type: 50 times as fast."""
        kind = type(items[0])
        if kind is int:
            code = "q"
        elif kind is float:
            code = "d"
        elif kind is bool:
            code = "?"
        elif kind is str:
            code = "u"
        else:
            return False
        self.room(len(items))
        if not all(type(item) is kind for item in items):
            return False
        if code == "u":
            self.room(sum(map(len, items)))
            texts = [text.encode("utf-8", "surrogatepass") for text in items]
            body = struct.pack(f"<{len(texts)}I", *map(len, texts)) + b"".join(texts)
        else:
            try:
                body = struct.pack(f"<{len(items)}{code}", *items)
            except struct.error:  # an integer over 64 bits
                return False
        self.count(len(items))
        self.room(len(body))
        self.out += code.encode() + body
        return True

    def tagged(self, tag: bytes, size: int) -> None:
        self.room(size)
        self.out += tag
        self.size(size)

    def size(self, number: int) -> None:
        while number > 0x7F:
            self.out.append(number & 0x7F | 0x80)
            number >>= 7
        self.out.append(number)

    def room(self, size: int) -> None:
        if len(self.out) + size > self.limit.size:
            raise Unencodable(f"more than {self.limit.size} bytes")

    def count(self, number: int) -> None:
        self.items += number
        if self.items > self.limit.items:
            raise Unencodable(f"more than {self.limit.items} values")


class _Decoder:
    __slots__ = ("at", "data", "hashing", "items", "limit")

    def __init__(self, data: bytes, limit: Limit) -> None:
        self.data = data
        self.at = 0
        self.limit = limit
        self.items = 0
        self.hashing = 0.0

    def value(self, depth: int) -> Any:
        self.count(1)
        tag = self.take(1)
        if tag == b"i":
            return int.from_bytes(self.take(self.size()), "little", signed=True)
        if tag == b"u":
            return self.text(self.take(self.size()))
        if tag == b"N":
            return None
        if tag == b"T":
            return True
        if tag == b"F":
            return False
        if tag == b"d":
            return struct.unpack("<d", self.take(8))[0]
        if tag == b"l":
            return self.sequence(depth + 1)
        if tag == b"t":
            return tuple(self.sequence(depth + 1))
        if tag == b"m":
            return self.mapping(self.sequence(depth + 1), self.sequence(depth + 1))
        if tag == b"s":
            return set(self.unique(self.sequence(depth + 1)))
        if tag == b"f":
            return frozenset(self.unique(self.sequence(depth + 1)))
        if tag == b"b":
            return bytes(self.take(self.size()))
        if tag == b"a":
            return bytearray(self.take(self.size()))
        if tag == b"c":
            return complex(*struct.unpack("<dd", self.take(16)))
        raise Undecodable(f"unknown tag {tag!r} at byte {self.at - 1}")

    def sequence(self, depth: int) -> list[Any]:
        if depth > self.limit.depth:
            raise Undecodable(f"containers deeper than {self.limit.depth}")
        count, kind = self.size(), self.take(1)
        if count > len(self.data) - self.at:  # every item takes at least a byte
            raise Undecodable(f"{count} items announced, {len(self.data) - self.at} bytes left")
        if kind == b"v":
            return [self.value(depth) for _ in range(count)]
        self.count(count)
        if kind in (b"q", b"d"):
            return list(struct.unpack(f"<{count}{kind.decode()}", self.take(8 * count)))
        if kind == b"?":
            return list(map(bool, self.take(count)))
        if kind == b"u":
            sizes = struct.unpack(f"<{count}I", self.take(4 * count))
            return [self.text(self.take(size)) for size in sizes]
        raise Undecodable(f"unknown kind of items {kind!r} at byte {self.at - 1}")

    def mapping(self, keys: list[Any], held: list[Any]) -> dict[Any, Any]:
        if len(keys) != len(held):
            raise Undecodable(f"a dict of {len(keys)} keys and {len(held)} values")
        return dict(zip(self.unique(keys), held, strict=True))

    def unique(self, keys: list[Any]) -> dict[Any, None]:
        start = time.thread_time()
        table = distinct(keys, self.limit.hashing - self.hashing)
        self.hashing += time.thread_time() - start
        if len(table) != len(keys):
            raise Undecodable("a key that occurs twice")
        return table

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise Undecodable(f"a text that is not UTF-8 before byte {self.at}") from None

    def size(self) -> int:
        number = shift = 0
        while shift < 35:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
        raise Undecodable(f"a size of more than five bytes before byte {self.at}")

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise Undecodable(f"{size} bytes expected at byte {self.at}, {len(self.data)} in all")
        raw = self.data[self.at : end]
        self.at = end
        return raw

    def count(self, number: int) -> None:
        self.items += number
        if self.items > self.limit.items:
            raise Undecodable(f"more than {self.limit.items} values")
