"""The JSON that goes back, whole or as server-sent events.

Beside OpenAI's fields: ``usage.nfe``, the model calls that the rows took part in (rows of many requests
share a call), and in each finished choice ``diffucode``, with which the same text can be had again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diffucode.generate.stream import Completion

Json = dict[str, Any]

FINISH = {"terminator": "stop", "stop": "stop", "length": "length"}
END_OF_STREAM = "data: [DONE]\n\n"


@dataclass(frozen=True)
class Answers:
    """How the answers to one request look."""

    kind: Literal["completion", "chat"]
    id: str
    model: str
    created: int
    prompt_tokens: int
    before: str
    after: str

    def whole(self, completions: Sequence[Completion]) -> Json:
        """The response that is not streamed; completions in the order of their jobs."""
        choices = []
        for index, done in enumerate(completions):
            text = self.before + done.text + self.after
            said = {"text": text}
            if self.kind == "chat":
                said = {"message": {"role": "assistant", "content": text}}  # type: ignore[dict-item]
            choices.append({"index": index, **said, **self._ended(done)})
        name = "text_completion" if self.kind == "completion" else "chat.completion"
        return self._envelope(name, choices) | {"usage": self.usage(completions)}

    def piece(self, index: int, text: str, done: Completion | None = None) -> Json:
        """An event with more text; with ``done``, the last one of the choice."""
        said: Json = {"text": text}
        if self.kind == "chat":
            said = {"delta": {"content": text} if text else {}}
        ended = {"finish_reason": None, "logprobs": None} if done is None else self._ended(done)
        return self._event([{"index": index, **said, **ended}])

    def opening(self, index: int) -> Json | None:
        """The event before a choice's first text: who speaks, and what its text begins with."""
        if self.kind == "completion":
            return None
        said = {"delta": {"role": "assistant", "content": self.before}}
        return self._event([{"index": index, **said, "finish_reason": None, "logprobs": None}])

    def counted(self, completions: Sequence[Completion]) -> Json:
        """The event that ends a stream whose client asked for the usage."""
        return self._event([]) | {"usage": self.usage(completions)}

    def usage(self, completions: Sequence[Completion]) -> Json:
        """Tokens, and model calls. A terminator is not counted, nor what was written after it."""
        written = sum(done.effective_tokens for done in completions)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
            "nfe": sum(done.nfe for done in completions),
        }

    @staticmethod
    def _ended(done: Completion) -> Json:
        own = {"seed": done.seed, "sample": done.sample, "steps": done.steps, "nfe": done.nfe}
        return {"finish_reason": FINISH[done.finish], "logprobs": None, "diffucode": own}

    def _event(self, choices: list[Json]) -> Json:
        name = "text_completion" if self.kind == "completion" else "chat.completion.chunk"
        return self._envelope(name, choices)

    def _envelope(self, name: str, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": name,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def event(value: Json) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(value)}\n\n"
