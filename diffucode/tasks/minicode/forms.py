"""Training texts: a problem as code, as a plan with code, as an explanation, as a problem to author.

======== ==================================================== ==========================================
form     prompt                                               response
======== ==================================================== ==========================================
code     signature and docstring                              the body
plan     ``# form: plan``, signature and docstring            ``# plan:`` lines, then the body
explain  ``# form: explain``, signature and body              the ``# plan:`` lines
recover  ``# form: recover``, signature and ``# plan:`` lines the body
author   ``# form: author`` with domain, band and algorithm   signature and docstring
======== ==================================================== ==========================================

Code and plan prompts may name the algorithm, in a ``# by:`` line or as the docstring's last sentence;
otherwise it is a free choice, and the same prompt comes back with others.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from diffucode.tasks.minicode import draws, phrasing
from diffucode.tasks.minicode.draws import Drawn
from diffucode.tasks.minicode.lower import Solution, solutions

FORMS = {"code": 0.52, "plan": 0.28, "explain": 0.05, "recover": 0.05, "author": 0.10}
PER_PROBLEM = 4
"""Examples of one problem: the prompt stays, form and algorithm are drawn anew."""
NAMED = 0.2
"""Share of code and plan examples whose prompt names the algorithm."""
HINTS = {
    "builtin": "Use built-in functions.",
    "accumulate": "Use a loop.",
    "sort": "Sort first.",
    "table": "Use a dict or set.",
    "two-pointer": "Use two pointers.",
    "recursion": "Use recursion.",
    "closed-form": "Use a formula.",
    "stack": "Use a stack.",
}


@dataclass(frozen=True)
class Example:
    """A prompt and what a model should answer."""

    id: str
    form: str
    prompt: str
    response: str
    regions: tuple[tuple[int, int, str], ...]
    """Character spans of prompt + response, in order and without gaps: "text" or "code"."""
    domain: str
    band: int
    algorithm: str
    rate: float
    """How often the problem's examples use this algorithm."""


def example(split: str, seed: int, index: int) -> Example:
    """The ``index``-th training text of a split under a seed."""
    drawn = draws.at(split, seed, index // PER_PROBLEM)
    rng = Random(f"{drawn.id}/{index % PER_PROBLEM}")
    form = rng.choices([*FORMS], [*FORMS.values()])[0]
    usual = rng.choices(drawn.solutions, [s.rate for s in drawn.solutions])[0]
    spelled = {s.algorithm: s for s in solutions(drawn.composition, drawn.name, rng)}
    solution = spelled.get(usual.algorithm, usual)  # another spelling may be too long
    prompt, response = _PIECES[form](drawn, solution, rng)
    regions = []
    start = 0
    for text, region in (*prompt, *response):
        if text:
            regions.append((start, start + len(text), region))
            start += len(text)
    return Example(
        id=f"{drawn.id}/{index % PER_PROBLEM}",
        form=form,
        prompt="".join(text for text, _ in prompt),
        response="".join(text for text, _ in response),
        regions=tuple(regions),
        domain=drawn.composition.domain,
        band=drawn.composition.band,
        algorithm=solution.algorithm,
        rate=usual.rate,
    )


def tagged(prompt: str, *, form: str = "code", by: str | None = None) -> str:
    """A plain prompt with the lines that ask for a form and name an algorithm."""
    lines = [f"# form: {form}\n"] if form != "code" else []
    return "".join([*lines, f"# by: {by}\n" if by else "", prompt])


Pieces = list[tuple[str, str]]


def _code(drawn: Drawn, solution: Solution, rng: Random) -> tuple[Pieces, Pieces]:
    return _asked(drawn, solution, rng, ""), [(solution.body, "code")]


def _plan(drawn: Drawn, solution: Solution, rng: Random) -> tuple[Pieces, Pieces]:
    prompt = _asked(drawn, solution, rng, "# form: plan\n")
    return prompt, [(planned(drawn, solution), "text"), (solution.body, "code")]


def _explain(drawn: Drawn, solution: Solution, rng: Random) -> tuple[Pieces, Pieces]:
    head = draws.head(drawn.composition, drawn.name)
    prompt = [("# form: explain\n", "text"), (head + solution.body, "code")]
    return prompt, [(planned(drawn, solution), "text")]


def _recover(drawn: Drawn, solution: Solution, rng: Random) -> tuple[Pieces, Pieces]:
    head = draws.head(drawn.composition, drawn.name)
    prompt = [("# form: recover\n", "text"), (head, "code"), (planned(drawn, solution), "text")]
    return prompt, [(solution.body, "code")]


def _author(drawn: Drawn, solution: Solution, rng: Random) -> tuple[Pieces, Pieces]:
    c = drawn.composition
    tags = f"# form: author\n# domain: {c.domain}\n# band: {c.band}\n# by: {solution.algorithm}\n"
    return [(tags, "text")], _question(drawn.prompt, HINTS[solution.algorithm])


_PIECES = {
    "code": _code,
    "plan": _plan,
    "explain": _explain,
    "recover": _recover,
    "author": _author,
}


def planned(drawn: Drawn, solution: Solution) -> str:
    """The plan as indented comment lines."""
    lines = phrasing.plan(drawn.composition, solution.algorithm)
    return "".join(f"    # plan: {line}\n" for line in lines)


def _asked(drawn: Drawn, solution: Solution, rng: Random, tags: str) -> Pieces:
    """Signature and docstring, sometimes with the algorithm named."""
    hint = ""
    if len(drawn.solutions) > 1 and rng.random() < NAMED:
        if rng.random() < 0.5:
            hint = HINTS[solution.algorithm]
        else:
            tags += f"# by: {solution.algorithm}\n"
    return [(tags, "text"), *_question(drawn.prompt, hint)]


def _question(prompt: str, hint: str) -> Pieces:
    """A prompt as pieces, the hint as the docstring's last sentence."""
    before, docstring, after = prompt.split('"""')
    return [
        (before + '"""', "code"),
        (f"{docstring} {hint}" if hint else docstring, "text"),
        ('"""' + after, "code"),
    ]
