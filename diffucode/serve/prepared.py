"""Requests to jobs: what ``diffucode generate`` and ``diffucode infill`` make of the same text and seed.

A completion continues its prompt as it stands (``prompt_style`` says otherwise), or fills the hole before
its ``suffix``. A chat goes through the model's template. A model that does not chat is taken for what it
can do, continue programs: it continues the program in the user's message (the first code block, or the
message) and answers with all of it in a code block, as an instruct model would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from diffucode.decoding.engine import Decoder, Finished
from diffucode.decoding.plan import Request
from diffucode.generate.infill import DEFAULT_LENGTH, Holes, Infill, prepare_holes
from diffucode.generate.job import Answer, Job
from diffucode.generate.prompted import Prompted, prepare_rendered
from diffucode.generate.tokenizer import Tokenizer
from diffucode.serve.ask import ChatMessage, Sampling
from diffucode.serve.failures import Failure
from diffucode.tasks.extract import program_of
from diffucode.tasks.prompts import Rendered, Speaker

if TYPE_CHECKING:
    from diffucode.models.load import Loaded

NOISE_ID = "prompt"
"""The noise of a request is that of ``diffucode generate PROMPT``: a function of its seed alone."""

OPENING, CLOSING = "```python\n", "\n```"

J = TypeVar("J", Prompted, Infill)


@dataclass(frozen=True)
class Filling:
    """A hole to fill; its text is the filling alone."""

    infill: Infill

    @property
    def request(self) -> Request:
        return self.infill.request

    def stopped(self, tokenizer: Tokenizer, beginning: Sequence[int]) -> bool:
        return self.infill.stopped(tokenizer, beginning)

    def read(self, tokenizer: Tokenizer, finished: Finished, terminators: Sequence[int]) -> Answer:
        answer = self.infill.read(tokenizer, finished, terminators)
        before, after = self.infill.holes.given
        return answer._replace(text=answer.text[len(before) : len(answer.text) - len(after)])


@dataclass(frozen=True)
class Prepared:
    """The jobs of a request, in the order of its choices."""

    jobs: tuple[Job, ...]
    before: str = ""
    """What stands before the text of every choice."""
    after: str = ""

    @property
    def prompt_tokens(self) -> int:
        """Given tokens, those of each prompt once."""
        return sum(job.request.open.count(False) for job in self.jobs if not job.request.sample)


@dataclass(frozen=True)
class Preparer:
    """Makes jobs for one model. Not for several threads at once: its tokenizer is not."""

    loaded: Loaded
    decoder: Decoder
    speaker: Speaker

    def completions(
        self, id: str, prompts: Sequence[str], suffix: str | None, sampling: Sampling
    ) -> Prepared:
        """Choices of every prompt in turn. Raises Failure, PromptError, PlanError, ConfigError."""
        if not prompts:
            raise Failure("prompt: expected a text, or a list of at least one", param="prompt")
        if suffix is not None:
            return self._infill(id, prompts, suffix, sampling)
        style = sampling.config.prompt_style
        rendered = [
            self.speaker.render(prompt, "raw" if style == "auto" else style) for prompt in prompts
        ]
        return Prepared(tuple(self._jobs(id, rendered, sampling)))

    def chat(self, id: str, messages: Sequence[ChatMessage], sampling: Sampling) -> Prepared:
        """Choices of the next message. Raises as ``completions`` does."""
        if not self.speaker.instruct:
            rendered = self.speaker.render(self._program(messages), "complete")
            jobs = self._jobs(id, [rendered], sampling)
            return Prepared(tuple(jobs), OPENING + rendered.code, CLOSING)
        assert self.speaker.chat is not None, "what instructs a model is a chat"
        roles = {"developer": "system"}  # OpenAI's newer name
        spoken = [{"role": roles.get(m.role, m.role), "content": m.text} for m in messages]
        own = sampling.config.system
        system = self.speaker.system if own is None else own
        if system and not any(message["role"] == "system" for message in spoken):
            spoken.insert(0, {"role": "system", "content": system})
        try:
            text = self.speaker.chat(spoken)
        except Exception as error:  # templates raise what they like
            raise Failure(
                f"the model's chat template refuses these messages ({error})", param="messages"
            ) from None
        return Prepared(tuple(self._jobs(id, [Rendered(text, "answer", True)], sampling)))

    def _program(self, messages: Sequence[ChatMessage]) -> str:
        """The program that a model which does not chat is asked to continue."""
        said = [message.text for message in messages if message.role == "user"]
        if len(said) != 1 or any(message.role == "assistant" for message in messages):
            raise Failure(
                f"{self.loaded.name} continues programs and does not chat; expected one message of the "
                "user, with the beginning of a program",
                param="messages",
            )
        return program_of(said[0], "answer")

    def _jobs(self, id: str, rendered: Sequence[Rendered], sampling: Sampling) -> list[Prompted]:
        prompts = [(NOISE_ID, one) for one in rendered]
        prepared = prepare_rendered(
            self.loaded, prompts, sampling.config, self._canvas(sampling.ceiling)
        )
        if prepared.refused:
            raise Failure(prepared.refused[0].reason, code="context_length_exceeded")
        samples = sampling.config.samples
        return [
            _named(job, f"{id}/{number // samples}") for number, job in enumerate(prepared.jobs())
        ]

    def _canvas(self, ceiling: int | None) -> int | None:
        """Tokens to write. Diffusion fills what it was made for, or less; more would change the answer."""
        usual = self.loaded.usual.canvas
        if ceiling is None or usual is None or self.decoder == "ar":
            return ceiling or usual
        return min(ceiling, usual)

    def _infill(self, id: str, prompts: Sequence[str], suffix: str, sampling: Sampling) -> Prepared:
        config = sampling.config
        if self.decoder == "ar":
            raise Failure(
                f"suffix: {self.loaded.name} decodes from left to right and cannot fill a hole; use a "
                "diffusion model",
                param="suffix",
            )
        if config.stop:
            raise Failure("stop: a hole is filled to its end; leave it out", param="stop")
        length = sampling.ceiling or config.max_new_tokens or DEFAULT_LENGTH
        jobs: list[Job] = []
        for number, prompt in enumerate(prompts):
            holes = Holes((prompt, suffix), (length,))
            made = prepare_holes(self.loaded, NOISE_ID, holes, config)
            jobs += [Filling(_named(job, f"{id}/{number}")) for job in made]
        return Prepared(tuple(jobs))


def _named(job: J, id: str) -> J:
    """The same draws under an id that no other request has."""
    return replace(job, request=replace(job.request, id=id, noise_id=job.request.id))
