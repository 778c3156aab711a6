"""What crosses the wall of the sandbox: round trips, exact types, hostile bytes."""

import collections
import contextlib
import enum
import math
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffucode.execution import values
from diffucode.execution.values import Limit, Undecodable, Unencodable, decode, encode

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 80), 1 << 80)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(codec=None))
    | st.binary()
)
HASHABLE = ATOMS | st.lists(ATOMS, max_size=5).map(tuple) | st.frozensets(ATOMS, max_size=5)
FLAT = HASHABLE | st.binary().map(bytearray)
SHALLOW = FLAT | st.lists(FLAT, max_size=6) | st.dictionaries(HASHABLE, FLAT, max_size=5)
VALUES = (
    SHALLOW
    | st.lists(SHALLOW, max_size=6)
    | st.lists(SHALLOW, max_size=6).map(tuple)
    | st.sets(HASHABLE, max_size=5)
    | st.dictionaries(HASHABLE, SHALLOW, max_size=5)
)


def shape(value: object) -> object:
    """The value with the type of every part beside it: 1, True and 1.0 are equal, their shapes not."""
    if isinstance(value, (list, tuple)):
        return type(value), [shape(item) for item in value]
    if isinstance(value, dict):
        return dict, [(shape(key), shape(held)) for key, held in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value), sorted(repr(shape(item)) for item in value)
    return type(value), repr(value)


@given(VALUES)
def test_round_trip(value: object) -> None:
    assert shape(decode(encode(value))) == shape(value)


@pytest.mark.parametrize(
    "value",
    [
        [1 << 63, -(1 << 63), (1 << 63) - 1, 0],
        [0, 1, True, False, 2],
        [True, False, True, True],
        [1.5, -0.0, math.inf, -math.inf, 5e-324],
        ["", "é", "\ud800", "\udc00\ud800", "a" * 300],
        list(range(1000)),
        "a\ud800\udc00\udfff",
        {"a": 1, "b": 2, "c": 3, "d": 4},
        {(1, "x"): [None], frozenset({1}): {}, None: {2.5}},
        7**20_000,  # repr refuses it: more than 4,300 digits
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_round_trip_of_edges(value: object) -> None:
    back = decode(encode(value))
    assert back == value and type(back) is type(value)
    if isinstance(value, list):
        assert [type(item) for item in back] == [type(item) for item in value]


def test_floats_keep_their_bits() -> None:
    odd_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_1234))[0]
    for number in (odd_nan, -0.0, math.inf, 5e-324):
        for value in (number, [number] * 5, complex(number, number)):
            assert encode(decode(encode(value))) == encode(value)
        assert struct.pack("<d", decode(encode(number))) == struct.pack("<d", number)


def test_order_of_a_dict_is_kept() -> None:
    assert list(decode(encode({"b": 1, "a": 2, 3: 4}))) == ["b", "a", 3]


def test_dictionaries_of_the_standard_library_become_dicts() -> None:
    counter = collections.Counter("aab")
    ordered = collections.OrderedDict([("z", 1), ("a", 2)])
    default = collections.defaultdict(list, {"k": [1]})
    for value in (counter, ordered, default):
        assert decode(encode(value)) == value
        assert type(decode(encode(value))) is dict


class Lying(type):
    def __hash__(cls) -> int:
        return hash(int)

    def __eq__(cls, other: object) -> bool:
        return True

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("asked the metaclass")


class Liar(metaclass=Lying):
    @property
    def __class__(self) -> type:  # type: ignore[override]
        return int

    def __iter__(self) -> object:
        raise RuntimeError("iterated")


class Sub(list):  # type: ignore[type-arg]
    def __iter__(self) -> object:  # type: ignore[override]
        raise RuntimeError("iterated")


class Colour(enum.IntEnum):
    RED = 1


class Int(int):
    pass


class Text(str):
    pass


@pytest.mark.parametrize(
    "value",
    [
        Liar(),
        Sub([1]),
        Colour.RED,
        Int(3),
        Text("x"),
        collections.namedtuple("P", "x")(1),
        iter([1]),
        range(3),
        (x for x in [1]),
        {}.keys(),
        object(),
        len,
        int,
        Ellipsis,
        NotImplemented,
        memoryview(b"x"),
        collections.deque([1]),
        type("Sub", (dict,), {})(),
        type("Sub", (float,), {})(1.0),
    ],
    ids=lambda value: type.__dict__["__name__"].__get__(type(value)),
)
def test_everything_else_is_refused_wherever_it_stands(value: object) -> None:
    for around in (value, [value], (1, 2, 3, 4, value), {1: value}, [value] * 5):
        with pytest.raises(Unencodable, match="not plain data"):
            encode(around)


def test_refusal_names_the_type() -> None:
    with pytest.raises(Unencodable, match=r"^Sub is not plain data"):
        encode({"x": [Sub()]})


def test_a_container_that_holds_itself_ends_at_the_depth() -> None:
    loop: list[object] = []
    loop.append(loop)
    table: dict[int, object] = {}
    table[1] = table
    for value in (loop, table, (loop,)):
        with pytest.raises(Unencodable, match="holds itself"):
            encode(value)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_limits_hold_on_both_sides() -> None:
    assert decode(encode(nested(10), Limit(depth=10)), Limit(depth=10)) == nested(10)
    for value, limit, words in [
        (nested(11), Limit(depth=10), "deeper"),
        ([None] * 11, Limit(items=11), "values"),
        (list(range(11)), Limit(items=11), "values"),
        ("x" * 50, Limit(size=50), "bytes"),
        (["x" * 20] * 5, Limit(size=50), "bytes"),
        (1 << 500, Limit(size=50), "bytes"),
        (b"x" * 50, Limit(size=50), "bytes"),
        ([1.5] * 20, Limit(size=50), "bytes"),
    ]:
        with pytest.raises(Unencodable, match=words):
            encode(value, limit)
        with pytest.raises(Undecodable, match=words):
            decode(encode(value), limit)


def test_a_huge_value_is_refused_before_it_is_copied() -> None:
    huge = [0] * 3_000_000
    start = time.thread_time()
    with pytest.raises(Unencodable):
        encode([huge] * 1000)
    assert time.thread_time() - start < 1


@given(st.binary(max_size=60))
def test_random_bytes_are_a_value_or_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except Undecodable:
        return
    encode(value)


@given(VALUES, st.data())
def test_a_broken_message_is_a_value_or_refused(value: object, data: st.DataObject) -> None:
    whole = encode(value)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Undecodable):
        decode(whole[:cut])
    at, byte = cut, data.draw(st.integers(0, 255))
    with contextlib.suppress(Undecodable):
        decode(whole[:at] + bytes([byte]) + whole[at + 1 :])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected"),
        (b"NN", "after the value"),
        (b"X", "unknown tag"),
        (b"l\x01z", "items announced"),
        (b"l\x00z", "kind of items"),
        (b"u\xff\xff\xff\xff\x0f", "expected"),
        (b"l\xff\xff\xff\xff\x7fv", "announced"),
        (b"l\xff\xff\xff\xff\xff\x01v", "five bytes"),
        (b"l\x7fq" + bytes(200), "expected"),
        (b"l\x02u\xff\xff\xff\xff\xff\xff\xff\xff", "expected"),
        (b"u\x02\xc3\x28", "UTF-8"),
        (b"s\x02vi\x01\x01T", "twice"),
        (b"m\x02vNN\x02vNN", "twice"),
        (b"m\x01vN\x02vNN", "1 keys and 2"),
        (b"s\x01vl\x00v", "unhashable"),
        (b"m\x01vl\x00v\x01vN", "unhashable"),
        (b"l\x01v" * 5000, "deeper"),
        (b"t\x01v" * 200_000 + b"N", "deeper"),
    ],
)
def test_hostile_bytes_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(Undecodable, match=words):
        decode(data)


def test_colliding_keys_cost_bounded_time() -> None:
    prime = sys.hash_info.modulus
    numbers = [prime * k for k in range(1, 12_001)]  # every one of them hashes to 0
    data = b"s" + encode(numbers)[1:]
    start = time.thread_time()
    with pytest.raises(Undecodable, match="hash"):
        decode(data, Limit(hashing=0.1))
    assert time.thread_time() - start < 1


def test_megabytes_take_a_moment() -> None:
    value = [list(range(1000))] * 500 + ["x" * 1_000_000, [f"w{i}" for i in range(100_000)]]
    start = time.thread_time()
    assert decode(encode(value)) == value
    assert time.thread_time() - start < 2


def test_loads_by_path_without_the_package() -> None:
    script = (
        "import runpy, sys; v = runpy.run_path(sys.argv[1]);"
        "assert v['decode'](v['encode']({'a': (1, 2.5)})) == {'a': (1, 2.5)};"
        "assert not [m for m in sys.modules if m.startswith('diffucode')]"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", script, Path(values.__file__)], check=True)
