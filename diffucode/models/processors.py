"""A temperature policy and a truncation inside transformers' ``generate``.

    processor = PolicyProcessor(MirostatV2(), max_new_tokens=64, terminator_ids=[2])
    model.generate(..., max_new_tokens=64, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                   logits_processor=[processor])

transformers' own temperature and truncation must be off, as above (its default top_k is 50): they
run after every processor that is passed in. Its penalties run before, so "raw" means the scores
that arrive here. The draw itself is transformers', from the global random state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from diffucode.errors import PlanError
from diffucode.protocols import Commits, Control, State, View
from diffucode.sampling.noise import COLD
from diffucode.sampling.summary import Softmax, Top, largest, softmax
from diffucode.sampling.temperature import Temperature
from diffucode.sampling.truncation import Truncation, cut


class PolicyProcessor(LogitsProcessor):  # type: ignore[misc]
    """One policy and one truncation for one call of ``generate``.

    Policies that learn are fed the id that ``generate`` appended since the last call, with the
    log-probabilities it had then; a row's memory stops changing after its first terminator. Every
    call compares the ids with those of the last one, which synchronises with the device.

    temperature     a policy of ``diffucode.sampling.temperature``; not Regions: ids have no labels
    truncation      applied to the tempered distribution, beside the policy's own caps
    max_new_tokens  the budget ``generate`` gets: the horizon of the progress and position clocks
    terminator_ids  the ``eos_token_id``, one or several, at which ``generate`` ends a row
    rl_step         training step, for policies that depend on it

    Raises PlanError when used for a second ``generate``, and under beam search or assisted
    decoding: there rows change their past, and no policy could have learned from it.
    """

    def __init__(
        self,
        temperature: Temperature,
        truncation: Truncation | None = None,
        *,
        max_new_tokens: int,
        terminator_ids: Sequence[int],
        rl_step: int = 0,
    ) -> None:
        if max_new_tokens < 1:
            raise PlanError(f"max_new_tokens is {max_new_tokens}; expected at least 1")
        self.temperature = temperature
        self.truncation = Truncation() if truncation is None else truncation
        self.max_new_tokens = max_new_tokens
        self.terminator_ids = tuple(terminator_ids)
        self.rl_step = rl_step
        self._last: _Turn | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores ``[B, V]`` to draw from: divided by the temperature, -inf outside the kept set.

        At temperature 0 the largest score becomes 0 and all others -inf. ``input_ids`` ``[B, T]``.
        """
        scores = scores.float()
        raw = softmax(scores, scores.new_ones(len(scores)))
        if self._last is None:
            _refuse_beams(input_ids, raw)
            turn = 0
            state: State = self.temperature.start(len(scores), scores.device)
            open_B = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        else:
            _refuse_another_past(self._last.ids_BT, input_ids)
            turn = self._last.turn + 1
            token_B = input_ids[:, -1]
            state = self.temperature.observe(self._last.commits(token_B), self._last.state)
            open_B = self._last.open_B & ~self._ends(token_B)
        top = largest(scores, max(self.temperature.retained, self.truncation.retained))
        control = self.temperature.control(self._view(raw, top, scores.shape[1], turn), state)
        drawn_from = self._apply(scores, raw, top, control)
        self._last = _Turn(
            turn=turn,
            ids_BT=input_ids,
            open_B=open_B,
            state=state,
            raw_logprob_BV=scores.log_softmax(1),
            behaviour_logprob_BV=drawn_from.log_softmax(1),
            entropy_B=raw.entropy_n,
            tau_B=control.tau_N,
        )
        return drawn_from

    def _view(self, raw: Softmax, top: Top, vocab_size: int, turn: int) -> View:
        """One asked position a row: the next token."""
        rows = torch.arange(len(raw.total_n), device=raw.total_n.device)
        turn_B = torch.full_like(rows, turn)
        return View(
            row_N=rows,
            offset_N=turn_B,
            entropy_N=raw.entropy_n,
            logsumexp_N=raw.logsumexp_n,
            top_NK=top.logit_nK,
            top_id_NK=top.id_nK,
            vocab_size=vocab_size,
            step_B=turn_B,
            progress_B=turn_B / self.max_new_tokens,
            length_B=torch.full_like(rows, self.max_new_tokens),
            rl_step=self.rl_step,
        )

    def _apply(self, scores: Tensor, raw: Softmax, top: Top, control: Control) -> Tensor:
        """The scores under a control and the truncation."""
        cold_B = control.tau_N < COLD
        tau_B = torch.where(cold_B, 1.0, control.tau_N)
        last = self.truncation.temperature_last
        cut_B = cut(
            scores,
            raw if last else softmax(scores, tau_B),
            top,
            self.truncation,
            max_surprise_n=control.max_surprise_N,
            logsumexp_n=raw.logsumexp_n,
            top_k_n=control.top_k_N,
        )
        out = (scores / tau_B[:, None]).where(scores >= cut_B[:, None], -torch.inf)
        greedy = torch.full_like(out, -torch.inf).scatter_(1, scores.argmax(1, keepdim=True), 0.0)
        return torch.where(cold_B[:, None], greedy, out)

    def _ends(self, token_B: Tensor) -> Tensor:
        """Whether each id is a terminator."""
        return torch.isin(token_B, token_B.new_tensor(self.terminator_ids))


@dataclass(frozen=True)
class _Turn:
    """What one call leaves for the next: where it stood and what each id would have cost."""

    turn: int
    ids_BT: Tensor
    open_B: Tensor
    state: State
    raw_logprob_BV: Tensor
    behaviour_logprob_BV: Tensor
    entropy_B: Tensor
    tau_B: Tensor

    def commits(self, token_B: Tensor) -> Commits:
        """The drawn ids as commits of the rows that were still open."""
        rows = torch.arange(len(token_B), device=token_B.device)
        return Commits(
            row_M=rows,
            where_M=self.open_B,
            offset_M=torch.full_like(rows, self.turn),
            token_M=token_B,
            raw_logprob_M=self.raw_logprob_BV[rows, token_B],
            behaviour_logprob_M=self.behaviour_logprob_BV[rows, token_B],
            entropy_M=self.entropy_B,
            tau_M=self.tau_B,
        )


def _refuse_another_past(before_BT: Tensor, now_BT: Tensor) -> None:
    """Raise PlanError unless the ids are those of the last call and one more column."""
    rows, width = before_BT.shape
    if now_BT.shape == (rows, width + 1) and torch.equal(now_BT[:, :width], before_BT):
        return
    raise PlanError(
        f"PolicyProcessor: the last call saw ids of shape [{rows}, {width}], this one sees "
        f"{list(now_BT.shape)} and expected the same ids and one more column. Make a new processor "
        "for every generate; beam search and assisted decoding, which rewrite the past, cannot "
        "use one"
    )


def _refuse_beams(ids_BT: Tensor, raw: Softmax) -> None:
    """Raise PlanError where a first call looks like beam search's.

    It passes log-probabilities instead of logits, for equal rows (every beam of a prompt starts the
    same). Later calls are caught by the ids as soon as a beam is dropped.
    """
    if len(ids_BT) < 2 or not torch.equal(ids_BT[0], ids_BT[1]):
        return
    if bool((raw.logsumexp_n.abs() < 1e-4).all()):
        raise PlanError(
            "PolicyProcessor: beam search (scores are already log-probabilities, rows are equal). "
            "Beams swap their pasts, so a policy cannot follow a row; use num_beams=1 and "
            "do_sample=True"
        )
