"""One sandbox for the tests of a module."""

from collections.abc import Iterator

import pytest

from diffucode.execution.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, tier="strongest") as sandbox:
        yield sandbox
