"""One process, or several that hold all weights each (DDP, ZeRO-2) or pieces of them (FSDP2, ZeRO-3).

::

    accelerate's launcher ──start──> Accelerator ──distribute──> policy, optimiser in pieces
                                                        │
              decode, evaluate, score, save <── Weights.whole: a copy of the model, while it is used

A forward pass of a model in pieces is a collective one: all processes must take as many. Processes decode
for as long as their own completions last, so they do it with whole weights. Training takes equal numbers
of passes everywhere and runs on the pieces.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import PartialState
from accelerate.utils import DistributedDataParallelKwargs, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from diffucode.errors import ConfigError
from diffucode.models.build import compile_layers
from diffucode.models.load import DTYPES, Loaded, save
from diffucode.models.lora import merge_lora, save_lora
from diffucode.models.replica import hollow, replica
from diffucode.models.transformer import TransformerDenoiser
from diffucode.optimizer import Optimizer

Precision = Literal["no", "bf16"]
"""What matrices are multiplied in: the dtype of the weights, or bfloat16. Logits and losses are float32."""


def start(precision: Precision, grad_norm: float, **tracking: Any) -> Accelerator:
    """accelerate, as its launcher set it up; ``tracking``: of ``trackers.tracked``.

    Raises ConfigError for launch settings that would be forgotten, or train something else than the
    settings of the run say, without a word.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked not in ("no", precision):
        raise ConfigError(
            f"launched with mixed_precision {asked}, and precision is {precision}: set precision={asked}, "
            "and mixed_precision to 'no'"
        )
    if os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        raise ConfigError("launched with a dynamo_backend: set it to 'no', and compile=true")
    plugin = _fsdp(precision) if os.environ.get("ACCELERATE_USE_FSDP") == "true" else None
    accelerator = Accelerator(
        mixed_precision=precision,
        fsdp_plugin=plugin,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        **tracking,
    )
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched != accelerator.num_processes:
        raise ConfigError(
            f"{launched} processes were launched, and accelerate would train each of them alone: there is "
            "no GPU here; set ACCELERATE_USE_CPU=true to train on CPUs"
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise ConfigError(
            f"launched with gradient_accumulation_steps {accelerator.gradient_accumulation_steps}: set it "
            "to 1; rows says how many rows are in memory at a time"
        )
    if plugin is not None and accelerator.distributed_type == DistributedType.MULTI_CPU:
        # accelerate forgets FSDP on a CPU and trains by DDP; torch's own FSDP2 works there.
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = plugin
    if plugin is not None and accelerator.distributed_type != DistributedType.FSDP:
        raise ConfigError(
            f"launched with FSDP, and accelerate runs {accelerator.distributed_type.value} on "
            f"{accelerator.num_processes} process(es): launch two processes or more"
        )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        _deepspeed(accelerator, grad_norm)
    if accelerator.distributed_type == DistributedType.MEGATRON_LM:
        raise ConfigError("Megatron-LM is not supported: launch with a file of configs/accelerate")
    return accelerator


def _fsdp(precision: Precision) -> FullyShardedDataParallelPlugin:
    """FSDP as the launcher asked for it, in the parts that are supported."""
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise ConfigError(f"fsdp_version {plugin.fsdp_version}: expected 2 (fsdp2.yaml)")
    if plugin.auto_wrap_policy is None:
        raise ConfigError(
            "fsdp_auto_wrap_policy NO_WRAP would gather all weights at once: expected "
            "TRANSFORMER_BASED_WRAP"
        )
    # loads random weights on all processes but the first, and unties a tied head
    if plugin.cpu_ram_efficient_loading:
        raise ConfigError("fsdp_cpu_ram_efficient_loading: expected false")
    if os.environ.get("FSDP_OFFLOAD_PARAMS") == "true":
        raise ConfigError("fsdp_offload_params: expected false")
    if plugin.activation_checkpointing:
        raise ConfigError(
            "fsdp_activation_checkpointing: expected false; set gradient_checkpointing=true"
        )
    if precision == "bf16":
        # accelerate's own would round log-probabilities and summed gradients to bfloat16
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32
        )
    return plugin


def _deepspeed(accelerator: Accelerator, grad_norm: float) -> None:
    """The parts of DeepSpeed's settings that are the run's."""
    config = accelerator.state.deepspeed_plugin.deepspeed_config
    for name in ("optimizer", "scheduler"):
        if name in config:
            raise ConfigError(f"{name} in DeepSpeed's settings: it is the run's, leave it out")
    if config["zero_optimization"].get("offload_param", {}).get("device", "none") != "none":
        raise ConfigError("zero3 offload_param_device: expected none")
    config["gradient_clipping"] = grad_norm
    # must be numbers that agree; nothing is divided by them
    config["train_micro_batch_size_per_gpu"] = config["gradient_accumulation_steps"] = 1
    config["train_batch_size"] = accelerator.num_processes


def in_pieces(accelerator: Accelerator) -> bool:
    """Whether no process holds whole weights."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        return bool(accelerator.state.deepspeed_plugin.zero_stage == 3)
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def whole_tensor(value: Tensor) -> Tensor:
    """All of a parameter that may be in pieces. All processes must ask together."""
    if isinstance(value, DTensor):
        return value.full_tensor()
    if hasattr(value, "ds_id"):  # ZeRO-3's mark
        import deepspeed

        with deepspeed.zero.GatheredParameters([value]):
            return value.detach().clone()
    return value


# --- an update over processes ------------------------------------------------------------------


@dataclass(frozen=True)
class Processes:
    """``rl.step.Sync`` over accelerate."""

    accelerator: Accelerator
    model: nn.Module
    """As ``distribute`` returned it."""

    @property
    def world(self) -> int:
        return int(self.accelerator.num_processes)

    def total(self, values: Tensor) -> Tensor:
        found: Tensor = self.accelerator.reduce(values.to(self.accelerator.device), "sum")
        return found.cpu()

    def largest(self, value: Tensor) -> Tensor:
        found: Tensor = self.accelerator.gather(value.reshape(1).to(self.accelerator.device))
        return found.max().cpu()

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def accumulating(self, last: bool) -> AbstractContextManager[Any]:
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            # its engine takes the optimiser's step inside the backward pass, unless more are announced
            self.accelerator.gradient_state._set_sync_gradients(last)
            return nullcontext()
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def clip(self, parameters: Iterator[nn.Parameter], norm: float) -> Tensor:
        """Under DeepSpeed gradients were clipped, to the norm that ``start`` was given, and are gone."""
        found = self.accelerator.clip_grad_norm_(list(parameters), norm)
        return torch.as_tensor(found.full_tensor() if isinstance(found, DTensor) else found)


# --- the model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """The denoiser that is trained, with whole weights."""

    accelerator: Accelerator
    denoiser: TransformerDenoiser
    """What is trained, as it was before accelerate wrapped it; its parameters may be in pieces."""
    hollow: TransformerDenoiser
    """The same without weights."""
    dtype: torch.dtype | None
    """Of a forward pass on pieces, where it is not that of the weights."""
    compiled: bool

    @property
    def in_pieces(self) -> bool:
        return in_pieces(self.accelerator)

    @contextmanager
    def whole(self) -> Iterator[TransformerDenoiser]:
        """To decode, score and evaluate with: the denoiser itself, or a copy that is gone afterwards.

        In pieces this takes the memory of whole weights in every process. All processes must enter.
        """
        if self.in_pieces:
            yield self.filled(list(self.denoiser.parameters()))
        elif self.compiled:
            with torch.compiler.set_stance("force_eager"):
                yield self.denoiser
        else:
            yield self.denoiser

    def filled(self, values: list[Tensor]) -> TransformerDenoiser:
        """A denoiser with these values for its parameters, in their order; shares those that are whole."""
        given = iter(values)

        def value(_: nn.Parameter) -> Tensor:
            found = next(given)
            # pieces are rounded before they travel
            found = found if self.dtype is None else found.to(self.dtype)
            return whole_tensor(found).to(self.accelerator.device)

        return replica(self.hollow, value)

    def autocast(self) -> AbstractContextManager[Any]:
        """Around forward passes of models that accelerate has not prepared."""
        return nullcontext() if self.in_pieces else self.accelerator.autocast()

    def on_main(self) -> TransformerDenoiser | None:
        """The denoiser in the dtype of its weights on the main process, None on others. In pieces it is a
        copy in the host's memory, and the device holds a whole tensor at a time."""
        main = self.accelerator.is_main_process
        if not self.in_pieces:
            return self.denoiser if main else None
        given = iter(list(self.denoiser.parameters()))

        def value(empty: nn.Parameter) -> Tensor:
            found = whole_tensor(next(given))
            return found.cpu() if main else empty

        copied = replica(self.hollow, value)
        return copied if main else None


def distribute(
    accelerator: Accelerator,
    denoiser: TransformerDenoiser,
    settings: Optimizer,
    *,
    compiled: bool = False,
) -> tuple[nn.Module, Any, Weights]:
    """What to train (the denoiser, wrapped), its optimiser, and its whole weights.

    The optimiser is of the parameters that have gradients. ``compiled``: the layers, in training alone.
    Raises ConfigError where a launch with FSDP would not shard every weight, layer by layer.
    """
    if compiled and accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise ConfigError(
            "compile with DeepSpeed has not been tried: set compile=false, or use FSDP2"
        )
    empty = hollow(denoiser)
    optimizer = settings.over(p for p in denoiser.parameters() if p.requires_grad)
    fsdp = accelerator.distributed_type == DistributedType.FSDP
    dtype = None
    if fsdp:
        plugin = accelerator.state.fsdp_plugin
        plugin.transformer_cls_names_to_wrap = plugin.transformer_cls_names_to_wrap or list(
            denoiser.model._no_split_modules
        )
        if plugin.mixed_precision_policy is not None:
            dtype = plugin.mixed_precision_policy.param_dtype
    try:
        policy, optimizer = accelerator.prepare(denoiser, optimizer)
    except ValueError as error:
        if fsdp and "transformer layer class" in str(error):
            raise ConfigError(f"fsdp_transformer_layer_cls_to_wrap: {error}") from error
        raise
    if fsdp:
        units = sum(isinstance(module, FSDPModule) for module in denoiser.modules())
        left = [n for n, p in denoiser.named_parameters() if not isinstance(p, DTensor)]
        if units < 2 or left:
            raise ConfigError(
                f"FSDP2 made {units} units and left {len(left)} weights whole ({', '.join(left[:3])}): "
                "expected one unit for each layer at least"
            )
    if compiled:
        compile_layers(denoiser.model)
    return policy, optimizer, Weights(accelerator, denoiser, empty, dtype, compiled)


def save_trained(
    weights: Weights,
    loaded: Loaded,
    folder: Path,
    *,
    layout: str | None = None,
    dtype: str | None = None,
) -> None:
    """Write the trained model, once for all processes, which must all enter.

    Adapters are written to a folder ``adapter`` beside it, too, and merged into the model.
    """
    denoiser = weights.on_main()
    if denoiser is not None:
        if hasattr(denoiser.model, "peft_config"):
            adapter = folder.with_name("adapter")
            shutil.rmtree(adapter, ignore_errors=True)  # of a run that was killed right here
            save_lora(denoiser.model, adapter, loaded.name)
            merge_lora(denoiser.model)
        if dtype is not None:
            denoiser.to(DTYPES[dtype])
        save(replace(loaded, denoiser=denoiser), folder, layout)
    weights.accelerator.wait_for_everyone()
