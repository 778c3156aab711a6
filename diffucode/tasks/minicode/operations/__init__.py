"""The operations of minicode, by kind."""

from diffucode.tasks.minicode.language import Each, Fold, Keep, Operation, Source, Whole
from diffucode.tasks.minicode.operations import (
    dictionaries,
    grids,
    lists,
    numbers,
    shared,
    strings,
)

_MODULES = (numbers, lists, strings, dictionaries, grids)

SOURCES: tuple[Source, ...] = tuple(s for m in _MODULES for s in m.SOURCES)
KEEPS: tuple[Keep, ...] = shared.KEEPS + tuple(k for m in _MODULES for k in m.KEEPS)
EACHES: tuple[Each, ...] = shared.EACHES + tuple(e for m in _MODULES for e in m.EACHES)
FOLDS: tuple[Fold, ...] = shared.FOLDS + tuple(f for m in _MODULES for f in m.FOLDS)
WHOLES: tuple[Whole, ...] = shared.WHOLES + tuple(w for m in _MODULES for w in m.WHOLES)
ALL: tuple[Operation, ...] = (*SOURCES, *KEEPS, *EACHES, *FOLDS, *WHOLES)
