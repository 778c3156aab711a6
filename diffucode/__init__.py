"""Decode, train and measure masked-diffusion language models for code.

The public names load on first use: importing the package loads no torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "DiffucodeError": "errors",
}

__all__ = ["DiffucodeError"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'diffucode' has no attribute {name!r}")
    return getattr(import_module(f"diffucode.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
