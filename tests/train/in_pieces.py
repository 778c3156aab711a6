"""What the processes of FSDP2 find out together; ``test_in_pieces.py`` launches it and reads what it wrote.

in_pieces.py FOLDER CONFIG     CONFIG: of train/sft.py, without output_dir
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from diffucode import config as configs
from diffucode import training
from diffucode.decoding.canvas import Canvas
from diffucode.models.load import load
from diffucode.protocols import Positions
from diffucode.rl.reference import ReferencePolicy

sys.path.insert(0, str(Path(__file__).parents[1]))  # what tests share
FOLDER = Path(sys.argv[1])
distribute, save_checkpoint, made = training.distribute, training.save_checkpoint, []


class Killed(BaseException):
    pass


def watched(*arguments: Any, **options: Any) -> Any:
    made.append(distribute(*arguments, **options))
    return made[-1]


def killing(*arguments: Any) -> None:
    save_checkpoint(*arguments)
    raise Killed


def train(name: str, *overrides: str, kill: bool = False) -> None:
    from running import as_module, forget

    script = as_module("train/sft.py")
    forget()
    given = [f"output_dir={FOLDER / name}", *overrides]
    training.save_checkpoint = killing if kill else save_checkpoint
    with suppress(Killed):
        script.train(configs.load(script.Sft, Path(sys.argv[2]), given))


def check_pieces() -> None:
    policy, optimizer, weights = made[-1]
    world = weights.accelerator.num_processes
    assert world == 2
    for parameter in policy.parameters():
        assert isinstance(parameter, DTensor)
        assert parameter.to_local().numel() <= parameter.numel() // world + parameter[:1].numel()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            moments = optimizer.state[parameter]
            assert isinstance(moments["exp_avg"], DTensor)
    units = [type(m).__name__ for m in policy.modules() if isinstance(m, FSDPModule)]
    assert sorted(units) == ["FSDPQwen2DecoderLayer"] * 2 + ["FSDPTransformerDenoiser"], units


def check_whole(name: str) -> None:
    """What decodes has the weights that were saved."""
    _, _, weights = made[-1]
    saved = dict(load(FOLDER / name / "model").denoiser.named_parameters())
    with weights.whole() as denoiser:
        for key, parameter in denoiser.named_parameters():
            assert not isinstance(parameter, DTensor) and not parameter.requires_grad
            assert torch.equal(parameter, saved[key]), key
        assert denoiser.model.lm_head.weight is denoiser.model.model.embed_tokens.weight


def check_reference() -> None:
    """It stays while the policy moves, keeps pieces, follows, and is saved and loaded."""
    _, _, weights = made[-1]
    reference = ReferencePolicy(weights)
    before = [p.clone() for p in reference.whole().parameters()]
    with torch.no_grad():
        for parameter in weights.denoiser.parameters():
            parameter.add_(1)

    def moved() -> list[float]:
        now = reference.whole().parameters()
        return [float((p - old).mean()) for p, old in zip(now, before, strict=True)]

    assert not any(moved())
    state = [value.clone() for value in reference.state()]
    kept, all_ = sum(v.numel() for v in state), sum(p.numel() for p in before)
    assert kept < 0.6 * all_, "each process keeps its half"
    reference.follow(0.5)
    assert all(abs(by - 0.5) < 1e-5 for by in moved())
    reference.follow(1)
    assert all(abs(by - 1) < 1e-5 for by in moved())
    reference.load(state)
    assert not any(moved())


def check_rounding() -> None:
    """Products are bfloat16, and what comes of the logits float32."""
    policy, _, weights = made[-1]
    assert all(parameter.dtype == torch.float32 for parameter in policy.parameters())
    canvas = Canvas.of([[7, 8]], [[False, True]], [(0, 0)], fill=0)
    ask = Positions.of(np.array([0]), np.array([1]))

    def readout(logits_nV: torch.Tensor, _: slice) -> dict[str, torch.Tensor]:
        return {"logits": logits_nV.clone()}

    with torch.no_grad(), weights.whole() as whole:
        mine = policy(canvas, ask, readout)["logits"]
        its = whole(canvas, ask, readout)["logits"]
    assert {p.dtype for p in whole.parameters()} == {torch.bfloat16}
    assert mine.dtype == torch.float32 and torch.equal(mine, its)


training.distribute = watched
Accelerator.end_training = lambda self: (
    None
)  # it would end the process group that the next run needs
train("whole")
check_pieces()
check_whole("whole")
check_reference()
train("killed", kill=True)
train("killed")
train("bf16", "precision=bf16", "steps=1")
check_rounding()
train("lora", "lora={rank: 2, alpha: 8}", "gradient_checkpointing=true")
