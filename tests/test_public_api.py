"""The public names: pinned, sorted, complete, and each where the type checker thinks it is."""

import ast
import inspect
from pathlib import Path

import pytest

import diffucode

SOURCE = Path(inspect.getfile(diffucode))


def test_the_names_are_pinned() -> None:
    assert diffucode.__all__ == [
        "Completion", "Denoiser", "DiffucodeError", "Engine", "Finished", "GenerateConfig", "Loaded",
        "Prompt", "Request", "SamplingPlan", "Step", "TableDenoiser", "TemperaturePolicy", "Trace",
        "TraceFile", "Truncation", "decode", "dream_plan", "llada_plan", "load", "prepare",
        "prepare_infill", "run", "save", "stream", "tiny_transformer",
    ]  # fmt: skip


def test_they_are_sorted_and_listed() -> None:
    assert sorted(diffucode.__all__) == diffucode.__all__ == dir(diffucode)


@pytest.mark.parametrize("name", diffucode.__all__)
def test_each_loads_and_says_what_it_is(name: str) -> None:
    thing = getattr(diffucode, name)
    assert thing.__name__ == name
    assert inspect.getdoc(thing)


def test_the_type_checker_sees_the_same_homes() -> None:
    typed = {
        alias.name: node.module
        for node in ast.walk(ast.parse(SOURCE.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("diffucode.")
        for alias in node.names
    }
    assert typed == {name: f"diffucode.{home}" for name, home in diffucode._HOME.items()}
    assert sorted(typed) == diffucode.__all__


def test_a_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lead'"):
        _ = diffucode.lead  # type: ignore[attr-defined]
