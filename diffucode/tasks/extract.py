"""From what a model wrote to a program: the text is kept, the program is cut out of it.

    answer        the first fenced Python block that parses, else the first block, else the text
    fence         the text up to the closing fence
    continuation  prompt + text, up to the end of the function that the prompt began
    verbatim      the text

Nothing is repaired. A text that holds no valid program gives an invalid program.
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from diffucode.tasks.prompts import Reading

FENCE = re.compile(r"^ {0,3}(?P<ticks>`{3,})[ \t]*(?P<info>[^`\n]*)$", re.MULTILINE)
HEADER = re.compile(r"^([ \t]*)(?:async[ \t]+)?def\b", re.MULTILINE)
LAYOUT = {tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
PYTHON = {"", "py", "python", "python3"}


def cut_at_stops(text: str, stops: Iterable[str]) -> tuple[str, bool]:
    """The text before the earliest stop string, and whether there was one."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def program_of(text: str, reading: Reading, code: str = "") -> str:
    """The program in a completion, ending in one newline; a continuation continues ``code``."""
    if reading == "verbatim":
        return text
    if reading == "continuation":
        program = code + text
        program = program[: end_of_function(program, len(code))]
    elif reading == "fence":
        program = next(_closed(text, 0, "```"), text)
    else:
        program = _from_answer(text)
    program = program.strip("\n").rstrip()
    return program + "\n" if program else ""


def parses(program: str) -> bool:
    """Whether this is syntactically valid Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and the like are no errors
        try:
            ast.parse(program)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
    return True


def end_of_function(source: str, given: int) -> int:
    """Where the function that ``source[:given]`` leaves unfinished ends, as an offset.

    The function is the last one begun in the given part; it ends before the first later statement
    that stands no deeper than its ``def``, once it has a body. Comments right before that statement
    are left out as well. Without such a function or such a statement the source ends it.
    """
    begun = [match for match in HEADER.finditer(source) if match.start() < given]
    if not begun:
        return len(source)
    lines = io.StringIO(source).readlines()
    starts = [0, *itertools.accumulate(map(len, lines))]
    depth, first = len(begun[-1][1]), source.count("\n", 0, begun[-1].start())
    body, end = _one_liner(lines[first]), len(source)
    for line in _logical_lines(source):
        if line.row <= first:
            continue
        if line.column > depth:
            body, end = True, len(source)
        elif body and starts[line.row] < given and not line.comment:
            return len(source)
        elif body and starts[line.row] >= given:
            end = min(end, starts[line.row])
            if not line.comment:
                break
    return end


def _one_liner(line: str) -> bool:
    """Whether this ``def`` line carries its body."""
    return not line.split("#")[0].rstrip().endswith((":", ",", "("))


class _Line(NamedTuple):
    """Where a logical line, or a comment that stands alone, begins; both from 0."""

    row: int
    column: int
    comment: bool


def _logical_lines(source: str) -> Iterator[_Line]:
    """Strings and brackets that span lines are one logical line.

    Where the source cannot be tokenised the lines that remain count one by one.
    """
    fresh, row = True, 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in LAYOUT:
                continue
            if token.type == tokenize.NEWLINE:
                fresh = True
                continue
            comment = token.type == tokenize.COMMENT
            if fresh:
                row = token.start[0]
                yield _Line(row - 1, token.start[1], comment)
            fresh = fresh and comment
    except (tokenize.TokenError, SyntaxError):
        for at, line in enumerate(source.split("\n")):
            if at >= row and line.strip():
                text = line.lstrip()
                yield _Line(at, len(line) - len(text), text.startswith("#"))


def _from_answer(text: str) -> str:
    blocks = list(_fenced(text))
    return next(filter(parses, blocks), blocks[0] if blocks else text)


def _fenced(text: str) -> Iterator[str]:
    """Python blocks in order; the last may lack its closing fence."""
    at = 0
    while match := FENCE.search(text, at):
        block = next(_closed(text, match.end() + 1, match["ticks"]), text[match.end() + 1 :])
        if match["info"].strip().lower() in PYTHON:
            yield block
        after = match.end() + 1 + len(block)
        closing = FENCE.search(text, after)
        at = closing.end() if closing else len(text)


def _closed(text: str, start: int, ticks: str) -> Iterator[str]:
    """The block from ``start`` to its closing fence, if there is one."""
    for match in FENCE.finditer(text, min(start, len(text))):
        if len(match["ticks"]) >= len(ticks) and not match["info"].strip():
            yield text[start : match.start()]
