"""Every run of a training script starts as if its process were new."""

from collections.abc import Iterator

import pytest
from running import forget


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget()
    yield
    forget()
