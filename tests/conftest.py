"""One thread (the models are tiny and the cores are few), no network, and what ``scripts/`` shares."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))  # the published loops

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is first imported
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is dear to set up is set up once: over several processes (``scripts/test``) the tests of a file
    go to one, and so do all files that use the drawn problems. Those come first, being the longest."""
    drawn = {item.path for item in items if "pool" in getattr(item, "fixturenames", ())}
    for item in items:
        name = "drawn" if item.path in drawn else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda item: item.path not in drawn)
