"""Problems to completions, as ``diffucode generate`` would write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from diffucode.errors import PromptError
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion, stream
from diffucode.metrics.arness import global_arness, local_arness, order_of
from diffucode.models.load import Loaded
from diffucode.tasks.problem import Problem


def complete(
    loaded: Loaded, problems: Sequence[Problem], config: GenerateConfig, *, first: int = 0
) -> Iterator[Completion]:
    """``config.samples`` completions of each problem, in the order in which they finish; those below
    ``first`` are left out.

    Raises PromptError where the model has no room for a prompt: leaving that problem out would make
    the figures of two models incomparable.
    """
    prompts = [Prompt(problem.id, problem.prompt) for problem in problems]
    prepared = prepare(loaded, prompts, config)
    for id, reason in prepared.refused:
        raise PromptError(f"{loaded.name}: {id}: {reason}; it cannot be measured on these")
    decoder = decoder_of(loaded, config)
    jobs = (job for job in prepared.jobs() if job.request.sample >= first)
    for frame in stream(loaded, jobs, decoder=decoder, capacity=config.batch_size):
        yield from frame.completions


def written(
    completions: Iterable[Completion], terminators: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """How the samples of each problem were written, by its id: the last fields of ``Outcome``."""
    found: dict[str, list[Completion]] = {}
    for done in completions:
        found.setdefault(done.id, []).append(done)
    return {id: _written(samples, terminators) for id, samples in found.items()}


def _written(samples: Sequence[Completion], terminators: Sequence[int]) -> dict[str, float | None]:
    orders = [one for done in samples if len(one := order_of(done.trace, terminators))]
    return {
        "passes": sum(done.nfe for done in samples),
        "ended": sum(done.finish in ("terminator", "stop") for done in samples),
        "local": fmean(map(local_arness, orders)) if orders else None,
        "leftmost": fmean(map(global_arness, orders)) if orders else None,
    }


def programs(completions: Iterable[Completion]) -> dict[str, list[str]]:
    """The programs of each problem, by its id, in the order of their samples."""
    numbered: dict[str, dict[int, str]] = {}
    for done in completions:
        numbered.setdefault(done.id, {})[done.sample] = done.program
    return {id: [found[n] for n in sorted(found)] for id, found in numbered.items()}
