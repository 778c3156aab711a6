"""The clusterer that asks a language model, behind any server that speaks OpenAI's chat protocol.

    programs ── equal up to names: one ──> leaders and followers:

    until none is left:  the first program leads a cluster; the judge compares it with each of the others;
                         those with the same algorithm follow and are out

The order is a pure function of (task, seed). A program that the judge could not compare with some leader
and that followed none has no label (None): it must not count as a new algorithm. Protocol as in Lee et al.
2025 (arXiv:2503.00691), wording our own.

Each answer is a file, named by the digest of the model and the prompt, written at once; so what was asked is
never asked again, and a killed run goes on. Answers without a verdict are kept too: at temperature 0
they would come again.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import Any

from diffucode.errors import JudgeError
from diffucode.files import write_atomic
from diffucode.measure.clustering.task import Task, numbered
from diffucode.tasks.syntax import canonical

PROMPT_VERSION = 1
ATTEMPTS = 5
"""Requests for one answer, before the run is given up."""
PATIENCE = 1.0
"""Seconds before the second request; twice as many before each further one."""
AGAIN = (
    "Your reply did not end in a verdict. Reply with one line: VERDICT: SAME or VERDICT: NEW.",
)

_VERDICT = re.compile(r"VERDICT\W{0,6}(SAME|NEW)\b", re.IGNORECASE)
_ASKED = """\
Two programs below solve the same problem, and both are correct. Decide whether the second one uses the \
algorithm of the first, or another one.

It is the same algorithm when the second could be made from the first by renaming, reordering independent \
steps, exchanging kinds of loops, comprehensions and library calls that do the same work, or splitting code \
into functions. It is another algorithm when the central idea differs: what is computed from what, which \
data structure carries the work, or how the work grows with the input.

Problem:
<problem>
{statement}
</problem>

First program:
<first>
{leader}
</first>

Think it over in a few sentences, then end with one line: VERDICT: SAME, or VERDICT: NEW.

Second program:
<second>
{candidate}
</second>
"""


@dataclass(frozen=True)
class Endpoint:
    """A server and one of its models."""

    base_url: str
    """Up to and with the version, such as ``http://localhost:8000/v1``."""
    model: str
    key: str = ""
    seconds: float = 120.0
    """For one answer."""
    max_tokens: int = 1024

    def complete(self, messages: Sequence[dict[str, str]]) -> str:
        """The answer to a conversation, at temperature 0. Raises OSError or HTTPException where none came,
        ValueError where it is no answer of this protocol."""
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=self.seconds) as response:
            found: Any = json.load(response)
        try:
            text = found["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise ValueError(
                f"expected choices[0].message.content, got {str(found)[:200]}"
            ) from None
        return text if isinstance(text, str) else ""


class Judge:
    """Clusters by a language model's verdicts; counts what it asked, found on disk and did not learn."""

    def __init__(
        self,
        endpoint: Endpoint,
        folder: Path,
        seed: int = 0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        if not re.match(r"https?://", endpoint.base_url):
            raise JudgeError(
                f"{endpoint.base_url!r}: expected a URL such as http://localhost:8000/v1"
            )
        self._endpoint, self._folder, self._seed, self._wait = endpoint, folder, seed, wait
        self.name = f"judge {endpoint.model}, prompt {PROMPT_VERSION}, seed {seed}"
        self.asked = 0
        """Answers that the server gave."""
        self.cached = 0
        """Answers that were on disk."""
        self.abstained = 0
        """Comparisons without a verdict, also after asking again."""

    def labels(self, task: Task, programs: Sequence[str]) -> list[int | None]:
        """Raises JudgeError when the server gives no answer."""
        texts = [canonical(program) for program in programs]
        left = [text for text in dict.fromkeys(texts) if text is not None]
        Random(f"judge/{self._seed}/{task.id}").shuffle(left)
        label: dict[str, int] = {}
        unsure: set[str] = set()
        clusters = 0
        while (leader := next((text for text in left if text not in unsure), None)) is not None:
            left.remove(leader)
            label[leader] = clusters
            verdicts = {other: self._same(task, leader, other) for other in left}
            label |= {other: clusters for other, same in verdicts.items() if same}
            unsure |= {other for other, same in verdicts.items() if same is None}
            left = [other for other in left if other not in label]
            clusters += 1
        return numbered([label.get(text) if text is not None else None for text in texts])

    def _same(self, task: Task, leader: str, candidate: str) -> bool | None:
        asked = _ASKED.format(statement=task.statement, leader=leader, candidate=candidate)
        messages = [{"role": "user", "content": asked}]
        for again in (*AGAIN, None):
            answer = self._answer(messages)
            if verdicts := _VERDICT.findall(answer):
                return bool(verdicts[-1].upper() == "SAME")
            if again is not None:
                messages = [
                    *messages,
                    {"role": "assistant", "content": answer},
                    {"role": "user", "content": again},
                ]
        self.abstained += 1
        return None

    def _answer(self, messages: list[dict[str, str]]) -> str:
        key = json.dumps([self._endpoint.model, self._endpoint.max_tokens, messages])
        file = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        try:
            answer = json.loads(file.read_text(encoding="utf-8"))["answer"]
            self.cached += 1
            return str(answer)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not asked yet, or a file that something else has spoilt
        answer = self._request(messages)
        self.asked += 1
        known = {"model": self._endpoint.model, "messages": messages, "answer": answer}
        write_atomic(file, json.dumps(known, indent=1))
        return answer

    def _request(self, messages: list[dict[str, str]]) -> str:
        place = f"judge {self._endpoint.model} at {self._endpoint.base_url}"
        for attempt in range(ATTEMPTS):
            try:
                return self._endpoint.complete(messages)
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code} {error.reason}"
                if error.code < 500 and error.code not in (408, 409, 429):
                    raise JudgeError(
                        f"{place}: {reason}; check the URL, the model and the key"
                    ) from None
            except (OSError, HTTPException, ValueError) as error:
                reason = str(error) or type(error).__name__
            if attempt + 1 < ATTEMPTS:
                self._wait(PATIENCE * 2**attempt)
        raise JudgeError(
            f"{place}: no answer after {ATTEMPTS} requests ({reason}); what it said is kept, run again"
        )
