"""Prompts to jobs: rendered, tokenised, held against the model's limit. Nothing is ever cut."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from diffucode.decoding.engine import Finished
from diffucode.decoding.plan import Request
from diffucode.errors import PromptError
from diffucode.generate.job import Answer, before_any
from diffucode.generate.settings import GenerateConfig, edits, plan
from diffucode.generate.tokenizer import Tokenizer, text_of
from diffucode.models.families.spec import Usual
from diffucode.sampling.edits import Edit
from diffucode.tasks.extract import cut_at_stops, program_of
from diffucode.tasks.prompts import Message, Rendered, Speaker

if TYPE_CHECKING:
    from diffucode.models.load import Loaded

DEFAULT_NEW_TOKENS = 256


class Prompt(NamedTuple):
    """A prompt and the name that its results carry."""

    id: str
    text: str


class Refusal(NamedTuple):
    """A prompt that is not decoded, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Prompted:
    """A completion to decode."""

    request: Request
    rendered: Rendered
    stops: tuple[str, ...]

    def stopped(self, tokenizer: Tokenizer, beginning: Sequence[int]) -> bool:
        return bool(self.stops) and cut_at_stops(text_of(tokenizer, beginning), self.stops)[1]

    def read(self, tokenizer: Tokenizer, finished: Finished, terminators: Sequence[int]) -> Answer:
        """The answer up to the first position that was never written.

        With a stop string the raw tokens end with the one that completes it, so they do not depend on
        how far the row was decoded after it.
        """
        start = finished.trace.start
        written = np.append(finished.trace.step[start:] >= 0, False)
        tokens = finished.tokens[start : start + int(written.argmin())]
        kept = before_any(tokens, terminators)
        effective = len(kept)
        text, stopped = cut_at_stops(text_of(tokenizer, kept), self.stops)
        if stopped:
            effective = bisect_left(
                range(effective), True, key=lambda m: self.stopped(tokenizer, kept[:m])
            )
            tokens = tokens[:effective]
        program = program_of(text, self.rendered.reading, self.rendered.code)
        return Answer(tuple(tokens.tolist()), effective, text, program, stopped)


@dataclass(frozen=True)
class Prepared:
    """Prompts that were looked at, all of them, before any is decoded."""

    kept: tuple[tuple[str, Rendered, tuple[int, ...], int], ...]
    """Id, rendered prompt, its tokens, and how many new ones there will be."""
    refused: tuple[Refusal, ...]
    edits: tuple[Edit, ...]
    usual: Usual
    """How the model is meant to be decoded."""
    config: GenerateConfig

    def __len__(self) -> int:
        return len(self.kept) * self.config.samples

    def jobs(self) -> Iterator[Prompted]:
        """Every sample of every prompt that was kept, made as it is asked for."""
        config = self.config
        for id, rendered, ids, wanted in self.kept:
            chosen = plan(config, wanted, self.edits, self.usual)
            for sample in range(config.samples):
                request = Request.completion(
                    id, ids, wanted, chosen, seed=config.seed, sample=sample
                )
                yield Prompted(request, rendered, config.stop)


def prepare(loaded: Loaded, prompts: Iterable[Prompt], config: GenerateConfig) -> Prepared:
    """Render and tokenise; a prompt over the model's limit is refused and the others go on.

    Raises PromptError for an empty prompt, a repeated id, and a style that the model does not have.
    """
    speaker = speaker_of(loaded)
    seen: set[str] = set()

    def rendered() -> Iterator[tuple[str, Rendered]]:
        for prompt in prompts:
            if prompt.id in seen:
                raise PromptError(f"prompt id {prompt.id!r} stands twice; ids tell results apart")
            seen.add(prompt.id)
            try:
                yield prompt.id, speaker.render(prompt.text, config.prompt_style, config.system)
            except PromptError as error:
                raise PromptError(f"prompt {prompt.id!r}: {error}") from None

    return prepare_rendered(loaded, rendered(), config, loaded.usual.canvas)


def prepare_rendered(
    loaded: Loaded,
    prompts: Iterable[tuple[str, Rendered]],
    config: GenerateConfig,
    canvas: int | None,
) -> Prepared:
    """Tokenise prompts that are rendered, each with its id; ``canvas`` is how many tokens to write where
    the config does not say, less where the limit is near."""
    limit = loaded.limit
    kept: list[tuple[str, Rendered, tuple[int, ...], int]] = []
    refused: list[Refusal] = []
    for id, rendered in prompts:
        ids = loaded.tokenizer.encode(rendered.text, add_special_tokens=not rendered.templated)
        wanted = new_tokens(len(ids), limit, config.max_new_tokens, canvas)
        if wanted is None:
            asked = f"{config.max_new_tokens or 1} new"
            reason = f"{len(ids)} tokens + {asked} are over the model's limit of {limit}"
            refused.append(Refusal(id, reason))
        else:
            kept.append((id, rendered, tuple(ids), wanted))
    changes = edits(config, loaded.tokenizer, loaded.denoiser.terminator_ids)
    return Prepared(tuple(kept), tuple(refused), changes, loaded.usual, config)


def new_tokens(prompt: int, limit: int, asked: int | None, usual: int | None) -> int | None:
    """How many tokens to write after ``prompt`` ones; None where the limit has no room for them.

    Asked for none in particular, it is the ``usual`` canvas, or less where the limit is near.
    """
    room = limit - prompt
    wanted = max(1, min(usual or DEFAULT_NEW_TOKENS, room)) if asked is None else asked
    return None if wanted > room else wanted


def speaker_of(loaded: Loaded) -> Speaker:
    """How this model is spoken to."""
    tokenizer = loaded.tokenizer

    def own(messages: Sequence[Message]) -> str:
        text: str = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
        return text

    vocabulary = tokenizer.get_vocab()
    return Speaker.of(
        loaded.name, loaded.family, vocabulary, own if tokenizer.chat_template else None
    )
