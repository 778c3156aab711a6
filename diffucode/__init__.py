"""Decode, train and measure masked-diffusion language models for code.

The public names load on first use: importing the package loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffucode.decoding.engine import Engine as Engine
    from diffucode.decoding.engine import Finished as Finished
    from diffucode.decoding.engine import Step as Step
    from diffucode.decoding.engine import decode as decode
    from diffucode.decoding.engine import run as run
    from diffucode.decoding.plan import Request as Request
    from diffucode.decoding.plan import SamplingPlan as SamplingPlan
    from diffucode.decoding.plan import dream_plan as dream_plan
    from diffucode.decoding.plan import llada_plan as llada_plan
    from diffucode.decoding.trace import Trace as Trace
    from diffucode.errors import DiffucodeError as DiffucodeError
    from diffucode.generate.infill import prepare_infill as prepare_infill
    from diffucode.generate.prompted import Prompt as Prompt
    from diffucode.generate.prompted import prepare as prepare
    from diffucode.generate.settings import GenerateConfig as GenerateConfig
    from diffucode.generate.stream import Completion as Completion
    from diffucode.generate.stream import stream as stream
    from diffucode.generate.traces import TraceFile as TraceFile
    from diffucode.models.load import Loaded as Loaded
    from diffucode.models.load import load as load
    from diffucode.models.load import save as save
    from diffucode.models.toy import TableDenoiser as TableDenoiser
    from diffucode.models.toy import tiny_transformer as tiny_transformer
    from diffucode.protocols import Denoiser as Denoiser
    from diffucode.protocols import TemperaturePolicy as TemperaturePolicy
    from diffucode.sampling.truncation import Truncation as Truncation

_HOMES = {
    "decoding.engine": ("Engine", "Finished", "Step", "decode", "run"),
    "decoding.plan": ("Request", "SamplingPlan", "dream_plan", "llada_plan"),
    "decoding.trace": ("Trace",),
    "errors": ("DiffucodeError",),
    "generate.infill": ("prepare_infill",),
    "generate.prompted": ("Prompt", "prepare"),
    "generate.settings": ("GenerateConfig",),
    "generate.stream": ("Completion", "stream"),
    "generate.traces": ("TraceFile",),
    "models.load": ("Loaded", "load", "save"),
    "models.toy": ("TableDenoiser", "tiny_transformer"),
    "protocols": ("Denoiser", "TemperaturePolicy"),
    "sampling.truncation": ("Truncation",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Completion",
    "Denoiser",
    "DiffucodeError",
    "Engine",
    "Finished",
    "GenerateConfig",
    "Loaded",
    "Prompt",
    "Request",
    "SamplingPlan",
    "Step",
    "TableDenoiser",
    "TemperaturePolicy",
    "Trace",
    "TraceFile",
    "Truncation",
    "decode",
    "dream_plan",
    "llada_plan",
    "load",
    "prepare",
    "prepare_infill",
    "run",
    "save",
    "stream",
    "tiny_transformer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'diffucode' has no attribute {name!r}")
    return getattr(import_module(f"diffucode.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
