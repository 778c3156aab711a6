"""Problems to completions, as ``diffucode generate`` would write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from diffucode.errors import PromptError
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion, stream
from diffucode.models.load import Loaded
from diffucode.tasks.problem import Problem


def complete(
    loaded: Loaded, problems: Sequence[Problem], config: GenerateConfig
) -> Iterator[Completion]:
    """``config.samples`` completions of each problem, in the order in which they finish.

    Raises PromptError where the model has no room for a prompt: leaving that problem out would make
    the figures of two models incomparable.
    """
    prompts = [Prompt(problem.id, problem.prompt) for problem in problems]
    prepared = prepare(loaded, prompts, config)
    for id, reason in prepared.refused:
        raise PromptError(f"{loaded.name}: {id}: {reason}; it cannot be measured on these")
    decoder = decoder_of(loaded, config)
    for frame in stream(loaded, prepared.jobs(), decoder=decoder, capacity=config.batch_size):
        yield from frame.completions


def programs(completions: Iterable[Completion]) -> dict[str, list[str]]:
    """The programs of each problem, by its id, in the order of their samples."""
    numbered: dict[str, dict[int, str]] = {}
    for done in completions:
        numbered.setdefault(done.id, {})[done.sample] = done.program
    return {id: [found[n] for n in sorted(found)] for id, found in numbered.items()}
