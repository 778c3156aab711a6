"""Temperature policies: who decides how random a draw is.

A policy is a frozen dataclass, config and behaviour in one (``protocols.TemperaturePolicy``). It
looks at a ``View`` of the asked positions, answers with a ``Control`` (a temperature, optionally a
bound on surprise or count), and may observe what was committed. Its memory is a value by row that
can be taken apart and put together, so rows retire and join while others decode.

    fixed        Constant
    by a clock   Linear, Cosine, Annealed
    feedback     MirostatV1, MirostatV2
    by entropy   HapoAdaptive with the HapoStats of an earlier batch
    composed     Product, Regions

``Temperature`` is the union of all of them.
"""

from diffucode.sampling.temperature.annealed import Annealed
from diffucode.sampling.temperature.compose import Product, Regions, Temperature
from diffucode.sampling.temperature.constant import Constant
from diffucode.sampling.temperature.hapo import HapoAdaptive, HapoStats
from diffucode.sampling.temperature.mirostat import MirostatV1, MirostatV2
from diffucode.sampling.temperature.schedules import Cosine, Linear

__all__ = [
    "Annealed",
    "Constant",
    "Cosine",
    "HapoAdaptive",
    "HapoStats",
    "Linear",
    "MirostatV1",
    "MirostatV2",
    "Product",
    "Regions",
    "Temperature",
]
