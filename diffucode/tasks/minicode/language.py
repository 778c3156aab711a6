"""What a problem is composed of: views of the argument, element-wise steps, folds and whole-value steps.

::

    def total(nums):                              whole   nums -> nums     nums[::-1]
        "Return the double of the sum of          source  nums -> elements
        the squares of the even numbers in        keep    element -> bool  x % 2 == 0
        the reverse of nums."                     each    element -> other x * x
                                                  fold    elements -> value: the fork of algorithms
                                                  whole   value -> value   {v} * 2

A kind names what flows between operations. Values: ``int ints str words dict grid bool``; elements:
``int word char row pair item``. Every code of an operation computes the same value, but for the algorithms
that an operation lists as flawed. Placeholders in codes and phrases:

====== ===============================================================================================
{x}    the element (expression)
{c}    the operation's constant: a literal, or ``k`` when it is the function's second argument
{v}    the value that a whole-value operation takes (expression; several uses make it a variable)
{b}    the function's second argument, of kind ``extra``
{e}    in a fold: the element after all steps; {y} the same where it is used more than once
{g}    in a fold: a generator of those (``x * x for x in nums if x > 0``), inside a call
{l}    in a fold: a list of those
{t}    in a fold: the loops and conditions alone (``for x in nums if x > 0``)
====== ===============================================================================================

A solution is text whose last line is the result, an expression. In a fold's solution, lines that begin
with ``@`` are the loop body; loop and condition are put around them::

    total = 0                 total = 0
    @total += {e}      -->    for x in nums:
    total                         if x % 2 == 0:
                                      total += x * x
"""

from __future__ import annotations

from dataclasses import dataclass

ALGORITHMS = (
    "builtin",
    "accumulate",
    "sort",
    "table",
    "two-pointer",
    "recursion",
    "closed-form",
    "stack",
)
"""A composition of built-in functions and comprehensions; a loop with running state; sorting first; a dict
or set; two indices moving through the data; a function that calls itself; arithmetic without iteration;
an explicit stack of pending items."""

RATES = (0.60, 0.25, 0.10, 0.05)
"""How often the first, second, ... algorithm of a fork is used in training, before renormalising."""


@dataclass(frozen=True)
class Source:
    """A view of a value as elements. ``nouns`` and ``where`` read "numbers" "in {v}".

    ``loops`` are (target, iterable) pairs, outermost first, and ``element`` the variable that steps see.
    Elements of two parts (kinds "pair": x, y; "item": key, x) must be mapped to one before most folds.
    ``guard`` is a condition of the view itself. ``head``, ``rest`` and ``empty`` let a function call
    itself on the remaining elements, {rest} being its argument then.
    """

    name: str
    takes: str
    gives: str
    nouns: tuple[str, ...]
    where: str
    loops: tuple[tuple[str, str], ...]
    element: str
    guard: str = ""
    empty: str = ""
    head: str = ""
    rest: str = ""
    extra: str = ""
    forward: bool = True
    """Whether ``head`` is the first element (digits are peeled from the end)."""
    domain: str = "shared"
    unseen: bool = False


@dataclass(frozen=True)
class Keep:
    """Keeps an element when the expression holds; ``phrases`` follow "that", ``adjective`` stands before."""

    name: str
    takes: str
    codes: tuple[str, ...]
    phrases: tuple[str, ...]
    adjective: str = ""
    constants: tuple[str, ...] = ()
    family: str = ""
    """At most one operation of a family stands in a composition (thresholds, affine maps, ...)."""
    domain: str = "shared"
    unseen: bool = False


@dataclass(frozen=True)
class Each:
    """Turns an element into another. "the ``nouns``" precede "the ..."; ``verbs`` are instructions;
    ``its`` stands alone ("its square")."""

    name: str
    takes: str
    gives: str
    codes: tuple[str, ...]
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    its: str
    constants: tuple[str, ...] = ()
    family: str = ""
    domain: str = "shared"
    unseen: bool = False


@dataclass(frozen=True)
class Fold:
    """Makes one value of all elements, by several algorithms, the most frequent first.

    ``solutions`` maps algorithms to texts; a tuple holds spellings, the usual first. From ``base`` and
    ``step`` ({e} and ``rest``) comes a recursion; ``stacked`` says that order does not matter, so that the
    accumulating loop may run over a stack as well. ``ranks`` orders the algorithms that training uses.
    ``flawed`` ones miss a case (empty, duplicates, negatives, ties). ``state`` adds to the difficulty.
    ``gives`` may be "list": ints of ints, words of words and characters. ``maps`` is False where mapping
    an element before folding would change nothing.
    """

    name: str
    takes: tuple[str, ...]
    gives: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    ranks: tuple[str, ...]
    solutions: dict[str, str | tuple[str, ...]]
    base: str = ""
    step: str = ""
    stacked: bool = False
    flawed: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    state: int = 0
    maps: bool = True
    family: str = ""
    domain: str = "shared"
    unseen: bool = False


@dataclass(frozen=True)
class Whole:
    """Turns a value into another. ``nouns`` ("the reverse of {v}") nest, ``verbs`` ("reverse {v}") follow
    each other; ``inline`` is the expression used where the operation is not the fork of its problem.

    ``solutions`` and ``ranks`` as in ``Fold``, with {v} for the value; in a recursion {f} is the function's
    name and the argument is {v} itself. Without solutions the operation is no fork.
    """

    name: str
    takes: str
    gives: str
    inline: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    ranks: tuple[str, ...] = ()
    solutions: dict[str, str | tuple[str, ...]] | None = None
    flawed: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    extra: str = ""
    state: int = 0
    family: str = ""
    domain: str = "shared"
    unseen: bool = False


Operation = Source | Keep | Each | Fold | Whole
