"""Text to program: fences, ends of functions, stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffucode.tasks.extract import cut_at_stops, parses, program_of

ADD = "def add(a: int, b: int) -> int:"


def test_stops_cut_at_the_earliest() -> None:
    assert cut_at_stops("abcdef", ["e", "cd"]) == ("ab", True)
    assert cut_at_stops("abcdef", ["x"]) == ("abcdef", False)
    assert cut_at_stops("abcdef", []) == ("abcdef", False)


@pytest.mark.parametrize(
    ("prompt", "text", "program"),
    [
        (ADD, "\n    return a + b\n", ADD + "\n    return a + b\n"),
        (ADD, "\n    return a + b\n\nprint(add(1, 2))\n", ADD + "\n    return a + b\n"),
        (ADD, "\n    return a + b\n\n# usage\nadd(1, 2)\n", ADD + "\n    return a + b\n"),
        (
            ADD,
            "\n    x = a\n# why\n    return x\nadd(1, 2)",
            ADD + "\n    x = a\n# why\n    return x\n",
        ),
        (ADD, " return a + b\nprint(1)", ADD + " return a + b\n"),
        ("def add(a", ", b):\n    return a + b\nx = 1\n", "def add(a, b):\n    return a + b\n"),
        ("def f(\n    a,\n):\n", "    return a\nf(1)", "def f(\n    a,\n):\n    return a\n"),
        (
            'def f(s):\n    """Doc\ndoc at column 0\n    """\n',
            '    t = """\nno end\n"""\n    return t\nf(1)',
            'def f(s):\n    """Doc\ndoc at column 0\n    """\n'
            '    t = """\nno end\n"""\n    return t\n',
        ),
        (
            "class A:\n    def f(self):\n",
            "        return [\n1]\n    def g(self): pass\n",
            "class A:\n    def f(self):\n        return [\n1]\n",
        ),
        ("import math\n", "x = 1\ny = 2\n", "import math\nx = 1\ny = 2\n"),
        (
            "def h():\n    return 1\n\nx =",
            " h()\nprint(x)\n",
            "def h():\n    return 1\n\nx = h()\nprint(x)\n",
        ),
        (ADD, "\nreturn a + b\n", ADD + "\nreturn a + b\n"),
        ("def f(x):\n", "    y = (x\nprint(1)\n", "def f(x):\n    y = (x\n"),
    ],
    ids=[
        "one function",
        "usage cut",
        "comment before usage cut",
        "comment at column 0 inside kept",
        "one-liner",
        "unfinished header",
        "header over lines",
        "strings over lines",
        "method",
        "no function",
        "function already closed",
        "no body: nothing to cut at",
        "broken: an open bracket",
    ],
)
def test_continuations_end_with_the_function(prompt: str, text: str, program: str) -> None:
    assert program_of(text, "continuation", prompt) == program


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("Sure:\n```python\nx = 1\n```\nUsage:\n```python\ny = 2\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```bash\npip install x\n```\n```py\nx = 1\n```", "x = 1\n"),
        ("```python\nx = = 1\n```\n```python\ny = 2\n```", "y = 2\n"),
        ("```python\nx = = 1\n```", "x = = 1\n"),
        ("```python\nx = 1\n", "x = 1\n"),
        ("```python", ""),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("x = 1", "x = 1\n"),
        ("", ""),
    ],
)
def test_answers_give_their_first_valid_block(text: str, program: str) -> None:
    assert program_of(text, "answer") == program


def test_an_open_fence_ends_at_the_closing_one() -> None:
    assert program_of("def f():\n    pass\n```\nThis works.", "fence") == "def f():\n    pass\n"
    assert program_of("def f():\n    pass", "fence") == "def f():\n    pass\n"


def test_verbatim_is_verbatim() -> None:
    assert program_of("  a\n\n", "verbatim") == "  a\n\n"


def test_parses() -> None:
    assert parses("x = 1")
    assert parses('x = "\\d"'), "a warning of the compiler is no error"
    assert not parses("x = = 1")
    assert not parses("x = '\0'")


@given(st.text(alphabet="abc ():\n\"'#`def\t\\", max_size=80), st.integers(0, 80))
def test_any_text_gives_a_prefix_of_the_whole(source: str, cut: int) -> None:
    prompt, text = source[:cut], source[cut:]
    program = program_of(text, "continuation", prompt)
    assert source.strip("\n").startswith(program.rstrip("\n"))
    program_of(source, "answer")
    program_of(source, "fence")
