"""Views and commits for tests of temperature policies."""

import math

import torch
from torch import Tensor

from diffucode.protocols import Commits, Control, TemperaturePolicy, View

CPU = torch.device("cpu")


def view(
    rows: int = 1,
    *,
    row=None,
    offset=0,
    step=0,
    progress=0.0,
    length=100,
    entropy=1.0,
    top: Tensor | None = None,
    vocab: int = 1000,
    region: Tensor | None = None,
    rl_step: int = 0,
) -> View:
    """A view of one position a row (``row`` names others); numbers hold for all positions or rows."""
    row_N = torch.arange(rows) if row is None else torch.tensor(row)

    def spread(value, like, dtype):
        return torch.as_tensor(value, dtype=dtype).expand(like).clone()

    n = len(row_N)
    top = torch.zeros(n, 2) if top is None else top.expand(n, -1)
    return View(
        row_N=row_N,
        offset_N=spread(offset, n, torch.long),
        entropy_N=spread(entropy, n, torch.float32),
        logsumexp_N=top.logsumexp(1),
        top_NK=top,
        top_id_NK=torch.arange(top.shape[1]).expand(n, -1),
        vocab_size=vocab,
        step_B=spread(step, rows, torch.long),
        progress_B=spread(progress, rows, torch.float32),
        length_B=spread(length, rows, torch.long),
        region_N=region,
        rl_step=rl_step,
    )


def commits(surprise, *, row=None, where=None, region=None, behaviour=None) -> Commits:
    """Commits of the given raw surprise in bits, all in row 0 unless ``row`` says otherwise."""
    surprise = torch.as_tensor(surprise, dtype=torch.float32)
    m = len(surprise)
    raw = -surprise * math.log(2)
    return Commits(
        row_M=torch.zeros(m, dtype=torch.long) if row is None else torch.tensor(row),
        where_M=torch.ones(m, dtype=torch.bool) if where is None else torch.tensor(where),
        offset_M=torch.arange(m),
        token_M=torch.zeros(m, dtype=torch.long),
        raw_logprob_M=raw,
        behaviour_logprob_M=raw if behaviour is None else behaviour,
        entropy_M=torch.ones(m),
        tau_M=torch.ones(m),
        region_M=None if region is None else torch.tensor(region),
    )


def taus(policy: TemperaturePolicy, seen: View) -> list[float]:
    """The temperatures of a fresh policy."""
    control: Control = policy.control(seen, policy.start(len(seen.step_B), CPU))
    assert control.tau_N.dtype == torch.float32
    return control.tau_N.tolist()
