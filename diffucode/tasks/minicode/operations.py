"""The vocabulary of minicode: where elements come from, which are kept, what becomes of each, what is
made of them all. A problem is one source, some filters, some maps and one reducer::

    Return the sum of the squares of the even numbers in nums.
               reducer    map           filter  source

Code templates are Python expressions in ``{x}`` (the element), ``{c}`` (a constant or the argument
``k``) and ``{a}`` (the function's argument); every template of an operation computes the same value.
Phrases are written so that any two of them fit together.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALL = ("2", "3", "4", "5", "6", "7")
WIDE = ("2", "3", "4", "5", "6", "8", "10", "12")
LETTERS = ("'a'", "'e'", "'o'", "'r'", "'s'", "'t'")


@dataclass(frozen=True)
class Source:
    """Elements of kind ``gives`` ("int", "word" or "char"), found in the argument ``{a}``."""

    name: str
    gives: str
    arguments: tuple[str, ...]
    nouns: tuple[str, ...]
    where: str
    iterables: tuple[str, ...]
    variable: str
    guard: str = ""


@dataclass(frozen=True)
class Filter:
    """Keeps an element when the expression holds; ``phrases`` follow "that"."""

    name: str
    takes: str
    codes: tuple[str, ...]
    phrases: tuple[str, ...]
    adjective: str = ""
    constants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Map:
    """Turns an element into another; ``nouns`` precede "the ...", ``verbs`` are instructions."""

    name: str
    takes: str
    gives: str
    codes: tuple[str, ...]
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    constants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reducer:
    """Makes the answer of all elements.

    ``{g}`` in ``code`` stands for any iterable, ``{l}`` for a list. A loop keeps ``total``, starting
    at ``start`` and changed by ``update``; without them it collects a list first. ``setup`` is a line
    that the code (not the loop) needs.
    """

    name: str
    takes: tuple[str, ...]
    code: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    start: str = ""
    update: str = ""
    setup: str = ""
    maps: bool = True


SOURCES = (
    Source(
        "list",
        "int",
        ("nums", "values", "xs"),
        ("numbers", "integers"),
        "in {a}",
        ("{a}",),
        "x",
    ),
    Source(
        "upto",
        "int",
        ("n", "m"),
        ("numbers", "integers"),
        "from 1 to {a}",
        ("range(1, {a} + 1)",),
        "i",
    ),
    Source(
        "below",
        "int",
        ("n", "m"),
        ("numbers", "integers"),
        "from 0 up to but not including {a}",
        ("range({a})",),
        "i",
    ),
    Source("digits", "int", ("n", "m"), ("digits",), "of {a}", ("map(int, str({a}))",), "d"),
    Source(
        "divisors",
        "int",
        ("n", "m"),
        ("divisors",),
        "of {a}",
        ("range(1, {a} + 1)",),
        "d",
        guard="{a} % {x} == 0",
    ),
    Source("words", "word", ("words", "names"), ("words", "strings"), "in {a}", ("{a}",), "w"),
    Source("split", "word", ("s", "text"), ("words",), "of {a}", ("{a}.split()",), "w"),
    Source("chars", "char", ("s", "text"), ("characters",), "of {a}", ("{a}",), "c"),
)

FILTERS = (
    Filter("even", "int", ("{x} % 2 == 0", "not {x} % 2"), ("are even",), "even"),
    Filter("odd", "int", ("{x} % 2 == 1", "{x} % 2 != 0"), ("are odd",), "odd"),
    Filter("positive", "int", ("{x} > 0",), ("are above zero",), "positive"),
    Filter("above", "int", ("{x} > {c}",), ("are greater than {c}", "exceed {c}"), "", WIDE),
    Filter("below", "int", ("{x} < {c}",), ("are less than {c}", "are below {c}"), "", WIDE),
    Filter("least", "int", ("{x} >= {c}",), ("are at least {c}", "are {c} or more"), "", WIDE),
    Filter("most", "int", ("{x} <= {c}",), ("are at most {c}", "are {c} or less"), "", WIDE),
    Filter(
        "multiple",
        "int",
        ("{x} % {c} == 0",),
        ("are divisible by {c}", "are multiples of {c}"),
        "",
        ("3", "4", "5", "6"),
    ),
    Filter("indivisible", "int", ("{x} % {c} != 0",), ("are not divisible by {c}",), "", SMALL),
    Filter(
        "unequal", "int", ("{x} != {c}",), ("are not equal to {c}", "differ from {c}"), "", WIDE
    ),
    Filter("ending", "int", ("{x} % 10 == {c}",), ("end in the digit {c}",), "", SMALL),
    Filter("longer", "word", ("len({x}) > {c}",), ("are longer than {c} characters",), "", SMALL),
    Filter("shorter", "word", ("len({x}) < {c}",), ("are shorter than {c} characters",), "", SMALL),
    Filter("evenlength", "word", ("len({x}) % 2 == 0",), ("have an even length",)),
    Filter("oddlength", "word", ("len({x}) % 2 == 1",), ("have an odd length",)),
    Filter("starting", "word", ("{x}.startswith({c})",), ("start with {c}",), "", LETTERS),
    Filter("endingwith", "word", ("{x}.endswith({c})",), ("end with {c}",), "", LETTERS),
    Filter("containing", "word", ("{c} in {x}",), ("contain {c}",), "", LETTERS),
    Filter("lacking", "word", ("{c} not in {x}",), ("do not contain {c}",), "", LETTERS),
    Filter("vowelled", "word", ("{x}[0] in 'aeiou'",), ("start with a vowel",)),
    Filter("mirrored", "word", ("{x} == {x}[::-1]",), ("are palindromes",)),
    Filter("vowel", "char", ("{x} in 'aeiou'",), ("are vowels",)),
    Filter("novowel", "char", ("{x} not in 'aeiou'",), ("are not vowels",)),
    Filter("digit", "char", ("{x}.isdigit()",), ("are digits",)),
    Filter("letter", "char", ("{x}.isalpha()",), ("are letters",)),
    Filter("upper", "char", ("{x}.isupper()",), ("are upper case",), "uppercase"),
    Filter("lower", "char", ("{x}.islower()",), ("are lower case",), "lowercase"),
    Filter("solid", "char", ("{x} != ' '", "not {x}.isspace()"), ("are not spaces",)),
    Filter("not", "char", ("{x} != {c}",), ("are not {c}", "differ from {c}"), "", LETTERS),
    Filter("after", "char", ("{x} > {c}",), ("come after {c}",), "", LETTERS),
)

MAPS = (
    Map("square", "int", "int", ("{x} * {x}", "{x} ** 2"), ("squares of",), ("square each",)),
    Map("cube", "int", "int", ("{x} ** 3",), ("cubes of",), ("cube each",)),
    Map("double", "int", "int", ("{x} * 2", "2 * {x}"), ("doubles of",), ("double each",)),
    Map(
        "halve",
        "int",
        "int",
        ("{x} // 2",),
        ("halves, rounded down, of",),
        ("halve each, rounding down",),
    ),
    Map("negate", "int", "int", ("-{x}",), ("negatives of",), ("negate each",)),
    Map("size", "int", "int", ("abs({x})",), ("absolute values of",), ("take absolute values",)),
    Map("add", "int", "int", ("{x} + {c}",), ("values plus {c} of",), ("add {c} to each",), SMALL),
    Map(
        "less",
        "int",
        "int",
        ("{x} - {c}",),
        ("values minus {c} of",),
        ("subtract {c} from each",),
        SMALL,
    ),
    Map(
        "times",
        "int",
        "int",
        ("{x} * {c}",),
        ("products by {c} of",),
        ("multiply each by {c}",),
        SMALL,
    ),
    Map(
        "modulo",
        "int",
        "int",
        ("{x} % {c}",),
        ("remainders modulo {c} of",),
        ("take each modulo {c}",),
        SMALL,
    ),
    Map(
        "text", "int", "word", ("str({x})",), ("decimal strings of",), ("turn each into a string",)
    ),
    Map("length", "word", "int", ("len({x})",), ("lengths of",), ("take the length of each",)),
    Map(
        "shout",
        "word",
        "word",
        ("{x}.upper()",),
        ("uppercase forms of",),
        ("convert each to upper case",),
    ),
    Map(
        "title",
        "word",
        "word",
        ("{x}.capitalize()",),
        ("capitalized forms of",),
        ("capitalize each",),
    ),
    Map("flip", "word", "word", ("{x}[::-1]",), ("reversals of",), ("reverse each",)),
    Map(
        "head",
        "word",
        "word",
        ("{x}[0]", "{x}[:1]"),
        ("first letters of",),
        ("take the first letter of each",),
    ),
    Map(
        "tail",
        "word",
        "word",
        ("{x}[-1]", "{x}[-1:]"),
        ("last letters of",),
        ("take the last letter of each",),
    ),
    Map("mark", "word", "word", ("{x} + '!'",), ("exclaimed forms of",), ("append '!' to each",)),
    Map(
        "repeat",
        "word",
        "word",
        ("{x} * 2", "{x} + {x}"),
        ("doubled forms of",),
        ("write each twice",),
    ),
    Map(
        "occurrences",
        "word",
        "int",
        ("{x}.count({c})",),
        ("counts of {c} in",),
        ("count {c} in each",),
        LETTERS,
    ),
    Map(
        "raise",
        "char",
        "char",
        ("{x}.upper()",),
        ("uppercase forms of",),
        ("convert each to upper case",),
    ),
    Map(
        "lower",
        "char",
        "char",
        ("{x}.lower()",),
        ("lowercase forms of",),
        ("convert each to lower case",),
    ),
    Map(
        "swap",
        "char",
        "char",
        ("{x}.swapcase()",),
        ("case-swapped forms of",),
        ("swap the case of each",),
    ),
    Map(
        "twin",
        "char",
        "word",
        ("{x} * 2", "{x} + {x}"),
        ("doubled forms of",),
        ("write each twice",),
    ),
    Map(
        "code", "char", "int", ("ord({x})",), ("code points of",), ("take the code point of each",)
    ),
)

ANY = ("int", "word", "char")
TEXT = ("word", "char")

REDUCERS = (
    Reducer(
        "sum",
        ("int",),
        "sum({g})",
        ("the sum of", "the total of"),
        ("add them up",),
        "0",
        "total += {e}",
    ),
    Reducer(
        "product",
        ("int",),
        "prod({g})",
        ("the product of",),
        ("multiply them together",),
        "1",
        "total *= {e}",
        setup="from math import prod",
    ),
    Reducer(
        "count",
        ANY,
        "len({l})",
        ("the number of", "the count of"),
        ("count them",),
        "0",
        "total += 1",
        maps=False,
    ),
    Reducer(
        "largest",
        ("int",),
        "max({g}, default=0)",
        ("the largest, or 0, of", "the maximum, or 0, of"),
        ("find the largest, or 0",),
    ),
    Reducer(
        "smallest",
        ("int",),
        "min({g}, default=0)",
        ("the smallest, or 0, of", "the minimum, or 0, of"),
        ("find the smallest, or 0",),
    ),
    Reducer("list", ANY, "{l}", ("a list of", "the list of"), ("list them",)),
    Reducer(
        "ascending",
        ANY,
        "sorted({g})",
        ("a sorted list of", "an ascending list of"),
        ("sort them",),
    ),
    Reducer(
        "descending",
        ANY,
        "sorted({g}, reverse=True)",
        ("a descending list of",),
        ("sort them in descending order",),
    ),
    Reducer(
        "backwards", ANY, "{l}[::-1]", ("a reversed list of",), ("list them in reverse order",)
    ),
    Reducer(
        "distinct",
        ANY,
        "sorted(set({g}))",
        ("a sorted list without duplicates of",),
        ("sort them without duplicates",),
    ),
    Reducer(
        "variety",
        ANY,
        "len(set({g}))",
        ("the number of distinct values among",),
        ("count the distinct ones",),
    ),
    Reducer(
        "joined",
        TEXT,
        "''.join({g})",
        ("the concatenation of",),
        ("concatenate them",),
        "''",
        "total += {e}",
    ),
    Reducer(
        "dashed",
        TEXT,
        "'-'.join({g})",
        ("the dash-separated string of",),
        ("join them with dashes",),
    ),
    Reducer(
        "spaced",
        ("word",),
        "' '.join({g})",
        ("the space-separated string of",),
        ("join them with spaces",),
    ),
    Reducer(
        "longest",
        ("word",),
        "max({g}, key=len, default='')",
        ("the longest, or '', of",),
        ("find the longest, or ''",),
    ),
    Reducer(
        "earliest",
        ("word",),
        "min({g}, default='')",
        ("the alphabetically first, or '', of",),
        ("find the alphabetically first, or ''",),
    ),
)
