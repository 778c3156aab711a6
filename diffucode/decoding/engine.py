"""The engine: admits requests, steps all live rows together, retires, refills, cancels.

    admit ─> pending ─> live rows ──step──> Step(rows, finished)
                          │  ▲                    retired rows make room for pending ones
                          └──┘

A row never depends on its neighbours: steps, progress, noise and policy state are its own, so it may
start while others are half done. Rows that share a plan are sampled together; all rows share the
forward pass. The host keeps its own copy of what is open, and learns what was committed in the one
transfer a step makes from the device (``_fetch``).

What a bidirectional model says of a row is a function of its tokens. So rows that hold the same ones are
read once (``_read_once``): the samples of a prompt all begin as one row, and part where their noise does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from diffucode.decoding import autoregressive
from diffucode.decoding.canvas import Canvas, once_each
from diffucode.decoding.diffusion import Asked
from diffucode.decoding.forward import Outcome, forward, spans_of
from diffucode.decoding.order import BlockWise, LeftToRight
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.decoding.schedule import Counted, DreamGrid, Pace
from diffucode.decoding.trace import FLOATS, Trace, blank
from diffucode.errors import ModelOutputError, PlanError
from diffucode.protocols import Cache, Commits, Denoiser, Positions, State
from diffucode.sampling.draw import Noise
from diffucode.sampling.noise import key

Decoder = Literal["diffusion", "ar"]
Reason = Literal["terminator", "length", "cancelled"]


@dataclass(frozen=True)
class RowStep:
    """What one row committed in a step: host arrays, in the order of their ranks."""

    id: str
    sample: int
    step: int
    positions: np.ndarray
    tokens: np.ndarray
    open_left: int


@dataclass(frozen=True)
class Finished:
    """A row that left the engine. ``nfe`` counts the forward passes it took part in."""

    request: Request
    tokens: np.ndarray
    trace: Trace
    reason: Reason
    steps: int
    nfe: int


@dataclass(frozen=True)
class Step:
    """What happened in one step of the engine."""

    number: int
    rows: tuple[RowStep, ...]
    finished: tuple[Finished, ...]
    asked: int
    """Positions read from the model."""
    calls: int
    """Forward passes, 0 or 1."""
    read: int
    """Rows the model read in it; rows of equal content are read once."""


@dataclass(eq=False)
class _Row:
    """Host record of a live row. A block is the whole row unless the order goes block by block."""

    request: Request
    plan: SamplingPlan
    trace: Trace
    open: np.ndarray
    blocks: list[np.ndarray]
    """Columns of each block that still has open positions, the one being filled first."""
    total: int
    """Positions that were open at first, and in how many blocks."""
    total_blocks: int
    step: int = 0
    block_step: int = 0
    nfe: int = 0

    @classmethod
    def of(cls, request: Request, plan: SamplingPlan, fill: int) -> _Row:
        opened = np.array(request.open)
        columns = np.flatnonzero(opened)
        trace = blank(request.id, request.sample, request.seed, int(columns[0]), len(opened), fill)
        trace.given[:] = ~opened
        trace.token[~opened] = np.array(request.tokens)[~opened]
        length = plan.order.length if isinstance(plan.order, BlockWise) else len(opened)
        edges = np.flatnonzero(np.diff((columns - columns[0]) // length)) + 1
        blocks = np.split(columns, edges)
        return cls(request, plan, trace, opened, blocks, len(columns), len(blocks))

    def eligible(self) -> np.ndarray:
        """Open columns that the order may choose from: those of the current block."""
        columns: np.ndarray = self.blocks[0]
        return np.asarray(columns[self.open[columns]])

    def pace(self, open_mean: float) -> Pace:
        """Where the current block stands; it gets its share of the row's steps."""
        assert isinstance(self.plan.schedule, Counted)
        steps = self.plan.schedule.steps or self.total
        base, remainder = divmod(steps, self.total_blocks)
        steps = max(1, base + (self.total_blocks - len(self.blocks) < remainder))
        total = len(self.blocks[0])
        return Pace(self.block_step, total, min(steps, total), open_mean)

    def advance(self) -> None:
        """One step further, and on to the next block where this one is full."""
        self.step += 1
        self.block_step += 1
        while len(self.blocks) > 1 and not self.open[self.blocks[0]].any():
            del self.blocks[0]
            self.block_step = 0


@dataclass
class _Group:
    """Live rows that share a plan, with the state of its temperature policy in the same order."""

    rows: list[_Row]
    state: State


@dataclass(frozen=True)
class _Turn:
    """The part of one group in a step: rows, their columns, and how many each commits."""

    plan: SamplingPlan
    rows: list[_Row]
    picked: list[int]
    """Which rows of the group take part."""
    columns: list[np.ndarray]
    counts: np.ndarray | None

    @property
    def size(self) -> int:
        return sum(map(len, self.columns))

    @property
    def can_draw_late(self) -> bool:
        """Whether the positions can be chosen before any token is drawn."""
        return self.counts is not None and not self.plan.order.needs_draw


class Engine:
    """Decodes requests with a model, at most ``capacity`` at a time.

    ``decoder="ar"`` decodes from left to right with a causal model and its cache. ``rl_step`` is the
    training step of the model, for policies that follow it. Raises PlanError on requests that the
    model cannot decode, CanvasError on rows without open positions, ModelOutputError on NaN logits.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        *,
        decoder: Decoder = "diffusion",
        capacity: int = 8,
        rl_step: int = 0,
    ) -> None:
        if capacity < 1:
            raise PlanError(f"capacity {capacity}: expected at least 1 row")
        self.denoiser = denoiser
        self.decoder = decoder
        self.capacity = capacity
        self.rl_step = rl_step
        self._pending: deque[Request] = deque()
        self._cancelled: list[Request] = []
        self._rows: list[_Row] = []
        self._groups: dict[SamplingPlan, _Group] = {}
        self._canvas: Canvas | None = None
        self._cache: Cache | None = None
        self._number = 0
        self._device = denoiser.device
        self._terminators = np.array(denoiser.terminator_ids, dtype=np.int64)
        self._fill: int = next(
            (i for i in (denoiser.mask_id, *denoiser.terminator_ids) if i is not None), 0
        )

    @property
    def live(self) -> int:
        """Rows being decoded."""
        return len(self._rows)

    @property
    def pending(self) -> int:
        """Requests waiting for a row."""
        return len(self._pending)

    @property
    def room(self) -> int:
        """Requests that the next step could start at once: cancelled rows make room there."""
        leaving = sum(row.request in self._cancelled for row in self._rows)
        return max(0, self.capacity - self.live + leaving - self.pending)

    def admit(self, requests: Iterable[Request]) -> None:
        """Queue requests; they join the batch as rows become free."""
        for request in requests:
            if len(request.tokens) != len(request.open) or not any(request.open):
                raise PlanError(
                    f"request {request.id!r}: {len(request.tokens)} tokens, {len(request.open)} open "
                    f"flags, {sum(request.open)} of them set; expected equal lengths and at least one"
                )
            if request.regions is not None and len(request.regions) != len(request.tokens):
                raise PlanError(
                    f"request {request.id!r}: {len(request.regions)} region labels for "
                    f"{len(request.tokens)} tokens; expected one each"
                )
            if self.decoder == "ar":
                autoregressive.check(request, self.denoiser)
            self._pending.append(request)

    def cancel(self, which: Iterable[str | tuple[str, int]]) -> None:
        """Drop requests, by id (all samples) or by (id, sample).

        The next step reports them as cancelled, with what they had so far.
        """
        named = set(which)

        def dropped(request: Request) -> bool:
            return request.id in named or (request.id, request.sample) in named

        waiting = [r for r in self._pending if dropped(r)]
        live = [row.request for row in self._rows if dropped(row.request)]
        self._pending = deque(r for r in self._pending if not dropped(r))
        self._cancelled += [r for r in waiting + live if r not in self._cancelled]

    @torch.no_grad()
    def step(self) -> Step:
        """Advance every live row by one step; finished rows leave and pending ones take their place."""
        finished = self._drop_cancelled()
        self._refill()
        turns = [self._turn(plan, group) for plan, group in self._groups.items()]
        rows: list[RowStep] = []
        asked = read = 0
        if turns:
            outcomes, asked, read = self._forward(turns)
            rows = self._commit(turns, outcomes)
            done = [row for row in self._rows if self._is_done(row)]
            finished += [self._finish(row) for row in done]
            self._retire(done)
        self._number += 1
        return Step(self._number - 1, tuple(rows), tuple(finished), asked, int(bool(turns)), read)

    # --- membership ------------------------------------------------------------------------------

    def _refill(self) -> None:
        fresh = [
            self._pending.popleft() for _ in range(min(self.capacity - self.live, self.pending))
        ]
        if not fresh:
            return
        rows = [self._new_row(request) for request in fresh]
        canvas = Canvas.of(
            [request.tokens for request in fresh],
            [request.open for request in fresh],
            [key(r.seed, r.noise_id or r.id, r.sample) for r in fresh],
            fill=self._fill,
            regions=_regions(fresh),
            device=self._device,
        )
        self._canvas = canvas if self._canvas is None else self._canvas.cat(canvas, fill=self._fill)
        if self.decoder == "ar":
            cache = self.denoiser.empty_cache(len(rows))
            if self._cache is not None and cache is not None:
                cache = self._cache.cat(cache)
            self._cache = cache
        self._rows += rows
        for row in rows:
            state = row.plan.temperature.start(1, self._device)
            group = self._groups.get(row.plan)
            if group is None:
                self._groups[row.plan] = _Group([row], state)
            else:
                group.rows.append(row)
                group.state = group.state.cat(state)
        self._regroup()

    def _regroup(self) -> None:
        """Bring rows of one plan together, so that asked positions come in the order of the rows."""
        place = {id(row): b for b, row in enumerate(self._rows)}
        rows = [row for group in self._groups.values() for row in group.rows]
        order = [place[id(row)] for row in rows]
        if order == sorted(order):
            return
        assert self._canvas is not None
        self._rows = rows
        self._canvas = self._canvas.take(self._upload(np.array(order)))
        if self._cache is not None:
            self._cache = self._cache.take(order)

    def _new_row(self, request: Request) -> _Row:
        plan = request.plan
        if self.decoder == "ar":
            plan = autoregressive.left_to_right(plan)
        return _Row.of(request, plan, self._fill)

    def _retire(self, done: Sequence[_Row]) -> None:
        if not done:
            return
        gone = set(map(id, done))
        kept = [b for b, row in enumerate(self._rows) if id(row) not in gone]
        self._rows = [self._rows[b] for b in kept]
        for plan, group in list(self._groups.items()):
            stay = [i for i, row in enumerate(group.rows) if id(row) not in gone]
            if not stay:
                del self._groups[plan]
            elif len(stay) < len(group.rows):
                group.rows = [group.rows[i] for i in stay]
                group.state = group.state.take(self._upload(np.array(stay)))
        if not kept:
            self._canvas = self._cache = None
            return
        assert self._canvas is not None
        longest = max(len(row.open) for row in self._rows)
        self._canvas = self._canvas.take(self._upload(np.array(kept)), longest)
        if self._cache is not None:
            self._cache = self._cache.take(kept)

    def _drop_cancelled(self) -> list[Finished]:
        cancelled, self._cancelled = self._cancelled, []
        live = {id(row.request): row for row in self._rows}
        rows = [live.get(id(request)) or self._new_row(request) for request in cancelled]
        self._retire([row for row in rows if id(row.request) in live])
        return [self._finish(row, "cancelled") for row in rows]

    # --- a step ------------------------------------------------------------------------------------

    def _turn(self, plan: SamplingPlan, group: _Group) -> _Turn:
        """What the group asks. Steps that would commit nothing are skipped without a forward pass."""
        while True:
            columns = [row.eligible() for row in group.rows]
            if not isinstance(plan.schedule, Counted):
                return _Turn(plan, group.rows, list(range(len(columns))), columns, None)
            counts = np.array(
                [
                    min(len(column), plan.schedule.count(row.pace(mean)))
                    for row, column, mean in zip(
                        group.rows, columns, self._open_means(group), strict=True
                    )
                ]
            )
            picked = [i for i, count in enumerate(counts) if count]
            if picked:
                break
            for row in group.rows:
                row.advance()
        for i, row in enumerate(group.rows):
            if i not in picked:
                row.advance()
        if isinstance(plan.order, LeftToRight) and plan.order_temperature == 0:
            columns = [column[:count] for column, count in zip(columns, counts, strict=True)]
        rows = [group.rows[i] for i in picked]
        return _Turn(plan, rows, picked, [columns[i] for i in picked], counts[picked])

    @staticmethod
    def _open_means(group: _Group) -> list[float]:
        """Open positions of each row; for the published loop their mean over rows of one step."""
        opens = np.array([row.open.sum() for row in group.rows], dtype=np.float64)
        if isinstance(group.rows[0].plan.schedule, DreamGrid):
            _, same = np.unique([row.step for row in group.rows], return_inverse=True)
            opens = (np.bincount(same, opens) / np.bincount(same))[same]
        return [float(x) for x in opens]

    def _forward(self, turns: Sequence[_Turn]) -> tuple[list[Outcome], int, int]:
        """One pass through the model for all groups; positions asked about, rows read."""
        canvas = self._canvas
        assert canvas is not None
        place = {id(row): b for b, row in enumerate(self._rows)}
        row_N, col_N = [], []
        for turn in turns:
            for row, columns in zip(turn.rows, turn.columns, strict=True):
                row_N.append(np.full(len(columns), place[id(row)]))
                col_N.append(columns)
        lengths = np.array([len(row.open) for row in self._rows])
        ask = Positions.of(np.concatenate(row_N), np.concatenate(col_N), canvas.device, lengths)
        spans = spans_of([turn.size for turn in turns])
        late = all(turn.can_draw_late for turn in turns)
        groups = [self._asked(t, canvas, ask, s, late) for t, s in zip(turns, spans, strict=True)]
        if self._cache is None:
            canvas, ask = self._read_once(canvas, ask)
        outcomes = forward(self.denoiser, canvas, ask, groups, self._cache)
        for outcome, turn in zip(outcomes, turns, strict=True):
            self._observe(outcome, turn)
        return outcomes, len(ask), canvas.shape[0]

    def _read_once(self, canvas: Canvas, ask: Positions) -> tuple[Canvas, Positions]:
        """The rows that the model has to read, each content once, and where in them the asked ones are."""
        asked, index = np.unique(ask.row, return_inverse=True)
        rows = [self._rows[b] for b in asked]
        first, place = once_each(row.trace.token.tobytes() + row.open.tobytes() for row in rows)
        kept = asked[first]
        if len(kept) == len(self._rows):
            return canvas, ask
        assert ask.lengths is not None
        return (
            canvas.take(self._upload(kept)),
            Positions.of(place[index], ask.col, canvas.device, ask.lengths[kept]),
        )

    def _asked(self, turn: _Turn, canvas: Canvas, ask: Positions, span: slice, late: bool) -> Asked:
        host = np.array(
            [[row.step, row.total, row.total - row.open.sum()] for row in turn.rows], dtype=np.int64
        )
        step_R, total_R, done_R = self._upload(host).unbind(1)
        sizes = [len(columns) for columns in turn.columns]
        group = self._groups[turn.plan]
        state = group.state
        if len(turn.picked) < len(group.rows):
            state = state.take(self._upload(np.array(turn.picked)))
        row_N, col_N = ask.row_N[span], ask.col_N[span]
        local_N = self._upload(np.repeat(np.arange(len(sizes)), sizes))
        position_N = canvas.position_BL[row_N, col_N]
        first_B = canvas.position_BL.gather(1, canvas.start_B[:, None])[:, 0]
        region_BL = canvas.region_BL
        return Asked(
            plan=turn.plan,
            state=state,
            canvas=canvas,
            rows=len(turn.rows),
            row_N=row_N,
            col_N=col_N,
            local_N=local_N,
            offset_N=position_N - first_B[row_N],
            region_N=None if region_BL is None else region_BL[row_N, col_N],
            noise=Noise(canvas.key_B2[row_N], position_N, step_R[local_N]),
            step_R=step_R,
            progress_R=done_R.float() / total_R.float(),
            length_R=total_R,
            counts=turn.counts,
            late=late,
            never=self.denoiser.mask_id,
            rl_step=self.rl_step,
        )

    def _observe(self, outcome: Outcome, turn: _Turn) -> None:
        """Feed the group's commits to its policy."""
        at, tree = outcome.at, outcome.tree
        group = self._groups[turn.plan]
        state = turn.plan.temperature.observe(
            Commits(
                row_M=at.local_N,
                where_M=outcome.chosen.where_M,
                offset_M=at.offset_N,
                token_M=tree["token"],
                raw_logprob_M=tree["raw_logprob"],
                behaviour_logprob_M=tree["behaviour_logprob"],
                entropy_M=tree["entropy"],
                tau_M=tree["tau"],
                region_M=at.region_N,
            ),
            at.state,
        )
        if len(turn.picked) == len(group.rows):
            group.state = state
            return
        # rows that sat this step out keep their state
        order = list(range(len(group.rows)))
        for new, old in enumerate(turn.picked):
            order[old] = len(group.rows) + new
        group.state = group.state.cat(state).take(self._upload(np.array(order)))

    def _commit(self, turns: Sequence[_Turn], outcomes: Sequence[Outcome]) -> list[RowStep]:
        """Write the commits to the canvas and, with the step's one transfer, to the host's records."""
        assert self._canvas is not None
        columns = []
        for o in outcomes:
            columns.append(
                torch.stack(
                    [
                        o.at.row_N.double(),
                        o.at.col_N.double(),
                        o.chosen.where_M.double(),
                        o.chosen.rank_M.double(),
                        o.tree["token"].double(),
                        *(o.tree[name].double() for name in FLOATS[:-1]),
                        o.chosen.order_logprob_M.double(),
                    ]
                )
            )
        table = torch.cat(columns, 1)
        row, col, where, _, token = table[:5].long()
        tokens_BL = torch.zeros_like(self._canvas.tokens_BL)
        where_BL = torch.zeros_like(self._canvas.open_BL)
        self._canvas = self._canvas.commit(
            tokens_BL.index_put((row, col), token), where_BL.index_put((row, col), where.bool())
        )
        host = _fetch(table)
        host = host[:, host[2] > 0]
        if np.isnan(host[5:]).any():
            bad = self._rows[int(host[0, np.isnan(host[5:]).any(0).argmax()])]
            raise ModelOutputError(
                f"request {bad.request.id!r}, step {bad.step}: the model's logits are not numbers "
                "(NaN); check the weights and the dtype"
            )
        host = host[:, np.lexsort((host[3], host[0]))]
        stepped = {id(r) for turn in turns for r in turn.rows}
        out = []
        for b, record in enumerate(self._rows):
            if id(record) in stepped:
                out.append(self._record(record, host[:, host[0] == b]))
        return out

    def _record(self, row: _Row, columns: np.ndarray) -> RowStep:
        positions, tokens = columns[1].astype(np.int64), columns[4].astype(np.int64)
        trace = row.trace
        trace.token[positions] = tokens
        trace.step[positions] = row.step
        trace.rank[positions] = columns[3].astype(np.int64)
        for name, values in zip(FLOATS, columns[5:], strict=True):
            getattr(trace, name)[positions] = values
        row.open[positions] = False
        row.nfe += 1
        step = row.step
        row.advance()
        return RowStep(
            row.request.id, row.request.sample, step, positions, tokens, int(row.open.sum())
        )

    # --- ends ------------------------------------------------------------------------------------

    def _is_done(self, row: _Row) -> bool:
        return not row.open.any() or (row.plan.retire and self._terminated(row))

    def _terminated(self, row: _Row) -> bool:
        """Whether everything up to the row's first committed terminator is committed."""
        ends = np.isin(row.trace.token, self._terminators) & (row.trace.step >= 0)
        return bool(ends.any()) and not row.open[: int(ends.argmax())].any()

    def _finish(self, row: _Row, reason: Reason | None = None) -> Finished:
        reason = reason or ("terminator" if self._terminated(row) else "length")
        return Finished(row.request, row.trace.token.copy(), row.trace, reason, row.step, row.nfe)

    def _upload(self, host: np.ndarray) -> Tensor:
        return torch.from_numpy(host).to(self._device, non_blocking=True)


def run(engine: Engine, source: Iterable[Request]) -> Iterator[Step]:
    """Feed requests to an engine as it has room, and yield its steps until all are finished."""
    source = iter(source)
    while True:
        engine.admit(islice(source, engine.room))
        if not engine.live and not engine.pending:
            return
        yield engine.step()


def decode(
    denoiser: Denoiser,
    requests: Sequence[Request],
    *,
    decoder: Decoder = "diffusion",
    capacity: int = 8,
) -> list[Finished]:
    """Decode requests and return them in their order."""
    engine = Engine(denoiser, decoder=decoder, capacity=capacity)
    done = {id(f.request): f for step in run(engine, requests) for f in step.finished}
    return [done[id(request)] for request in requests]


def _fetch(table: Tensor) -> np.ndarray:
    """The one transfer from the device in a step."""
    return np.asarray(table.cpu().numpy())


def _regions(requests: Sequence[Request]) -> list[tuple[int, ...]] | None:
    if all(request.regions is None for request in requests):
        return None
    return [request.regions or (0,) * len(request.tokens) for request in requests]
