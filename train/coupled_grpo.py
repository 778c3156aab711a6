"""Train a code model with reinforcement learning: coupled-GRPO and its family, for diffusion and AR models.

    accelerate launch train/coupled_grpo.py --config configs/train/coupled_grpo_mini.yaml seed=1

    problems(step) ──> rollouts ──> rewards (sandbox) ──> advantages ──┐
         ^                policy                                       v
         │                                      mu iterations: masks, old | reference | new log-probs,
    (seed, step)                                loss, backward, AdamW ──> checkpoint, metrics.jsonl, model/

Everything random is a function of (seed, step), so a resumed run repeats the unbroken one bitwise on one
machine, process and thread count: a checkpoint holds weights, optimiser, reference and, between two
iterations, the rollouts and what the old policy said of them. The same command continues a killed run.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.progress import Progress
from torch import nn

from diffucode.decoding.trace import Trace
from diffucode.errors import ConfigError, ResumeError
from diffucode.execution.sandbox import Sandbox
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion
from diffucode.measure.greedy import shares
from diffucode.measure.problems import Problems, ids
from diffucode.measure.samples import complete
from diffucode.metrics.arness import global_arness, local_arness, order_of
from diffucode.models.build import recompute_layers
from diffucode.models.load import Loaded, load
from diffucode.models.lora import Lora, add_lora
from diffucode.optimizer import Optimizer
from diffucode.processes import Precision, Processes, Weights, distribute, save_trained
from diffucode.rl import graded
from diffucode.rl.advantage import AdvantageRule, GroupAdvantage, permuted
from diffucode.rl.graded import Minicode, ProblemSet, Source
from diffucode.rl.masking import Autoregressive
from diffucode.rl.objective import Metrics, Totals
from diffucode.rl.reference import ReferencePolicy
from diffucode.rl.reward_pool import RewardPool
from diffucode.rl.rewards import Reward, means
from diffucode.rl.rollout import Rollout, fitting, roll
from diffucode.rl.step import Batch, Prepared, Stepped, Update, iterate, prepare, without_flat
from diffucode.runpage.page import write_page
from diffucode.runs import Run, bar, checkpoints, command, new_checkpoint
from diffucode.sampling.temperature import HapoAdaptive, HapoStats
from diffucode.sampling.truncation import Truncation
from diffucode.tasks.syntax import canonical
from diffucode.trackers import Tracker
from diffucode.training import trained

UNTOUCHED = GenerateConfig()


@dataclass(frozen=True)
class Reference:
    """The policy that the divergence is measured from. None is kept where the objective's beta is 0."""

    every: int = 0
    """Updates between two synchronisations with the policy. 0: it stays what it was at first."""
    mix: float = 1.0
    """Share of the policy in it after one: 1 is a copy (DiffuCoder's Algorithm 1), TRL's default 0.6."""

    def __post_init__(self) -> None:
        if self.every < 0 or not 0 < self.mix <= 1:
            raise ConfigError(f"every={self.every}, mix={self.mix}: expected >= 0 and in (0, 1]")


@dataclass(frozen=True)
class CoupledGrpo:
    model: str = "mini"
    output_dir: str = "runs/coupled_grpo"
    seed: int = 0
    updates: int = 40
    """Batches of rollouts; each is learnt from ``update.iterations`` times."""
    source: Source = field(default_factory=Minicode)
    prompts: int = 12
    """Problems of an update, over all processes."""
    redraws: int = 0
    """Times that groups without variance are replaced by others (DAPO's dynamic sampling)."""
    rollout: GenerateConfig = field(
        default_factory=lambda: GenerateConfig(samples=8, temperature=1.0, batch_size=64)
    )
    """How completions are drawn; ``samples`` is the size of a group. Model and seed are those above."""
    reward: Reward = field(default_factory=Reward)
    permute_rewards: bool = False
    """A control: rewards are permuted within their groups before anything is learnt from them. What is
    logged is what completions earned."""
    advantage: AdvantageRule = field(default_factory=GroupAdvantage)
    update: Update = field(default_factory=Update)
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(rate=1e-6))
    reference: Reference = field(default_factory=Reference)
    threads: int = 1
    dtype: str = "float32"
    """Of the weights."""
    precision: Precision = "no"
    """What matrices are multiplied in: the dtype of the weights, or bfloat16."""
    lora: Lora | None = None
    """Train adapters and keep the weights; the reference is then the model without them."""
    gradient_checkpointing: bool = False
    compile: bool = False
    """torch.compile the layers, in forward passes with a gradient."""
    evaluate_every: int = 0
    """Updates between evaluations on minicode's dev split, before the first and after the last. 0: none."""
    evaluate_problems: int = 100
    evaluate_steps: tuple[int, ...] = ()
    """Paces to evaluate at, besides the model's usual one."""
    checkpoint_every: int = 5
    """Updates between checkpoints."""
    problems_folder: str | None = None
    """Where problems and their tests are kept between runs; None: in output_dir."""
    trackers: tuple[Tracker, ...] = ()
    """That get every row of metrics.jsonl as well."""

    def __post_init__(self) -> None:
        for name in ("updates", "prompts", "checkpoint_every"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} {value}: expected at least 1")
        for name in ("model", "seed", "revision", "dtype", "device"):
            if getattr(self.rollout, name) != getattr(UNTOUCHED, name):
                raise ConfigError(
                    f"rollout.{name}: say it once for the whole run, without rollout."
                )
        if self.rollout.samples < 2:
            raise ConfigError(
                f"rollout.samples {self.rollout.samples}: a group needs two completions to compare"
            )
        if self.rollout.temperature == 0 and self.update.scored_as == "behaviour":
            raise ConfigError("rollout.temperature 0 has no gradient to score as behaviour")


# --- a batch -----------------------------------------------------------------------------------


@dataclass
class Place:
    """Where a run stands: ``index`` of ``update`` is the next iteration."""

    update: int = 0
    index: int = 0
    prepared: Prepared | None = None
    """The update's batch, once it is drawn."""
    figures: dict[str, float] = field(default_factory=dict)
    """Of its rollouts."""
    done: list[Stepped] = field(default_factory=list)
    """Its iterations so far."""


@dataclass
class Trainer:
    """What lives through a run."""

    settings: CoupledGrpo
    accelerator: Accelerator
    run: Run
    loaded: Loaded
    policy: nn.Module
    """The denoiser as accelerate wrapped it."""
    weights: Weights
    optimizer: torch.optim.Optimizer
    reference: ReferencePolicy | None
    problems: ProblemSet
    sandbox: Sandbox
    kept: Problems
    """minicode's problems with their tests, on disk."""
    entropy: HapoStats | None = None
    """Of the last batch's committed tokens."""

    @property
    def sync(self) -> Processes:
        return Processes(self.accelerator, self.policy)

    @property
    def rollout(self) -> GenerateConfig:
        """The settings' own; a temperature that follows entropy follows that of the last batch."""
        rollout = self.settings.rollout
        if isinstance(rollout.temperature, HapoAdaptive):
            return replace(rollout, temperature=replace(rollout.temperature, stats=self.entropy))
        return rollout

    def roll(self, loaded: Loaded, update: int) -> tuple[list[Rollout], dict[str, float]]:
        """All processes' rollouts of an update, in one order, and how long they took."""
        settings, rank, world = self.settings, self.accelerator.process_index, self.sync.world
        source = self.problems.asked(settings.seed, update * settings.prompts)
        kept, found = [], []
        started, waited = time.perf_counter(), 0.0
        for _ in range(settings.redraws + 1):
            wanted = settings.prompts - len(kept)
            asked = list(islice(source, wanted))
            if not asked:
                break
            with RewardPool(settings.reward, self.sandbox, {one.id: one for one in asked}) as pool:
                own = roll(
                    loaded,
                    asked[rank::world],
                    self.rollout,
                    pool,
                    seed=settings.seed,
                    step=update,
                )
                waited += pool.waited
            by_id: dict[str, list[Rollout]] = {}
            for one in gather_object(own):
                by_id.setdefault(one.problem, []).append(one)
            groups = [by_id[problem.id] for problem in asked]
            found += groups
            kept += filter(_varied, groups)
            if len(kept) >= settings.prompts:
                break
        if settings.redraws == 0:
            kept = found
        flat = [group for group in found if not _varied(group)]
        figures = {
            "seconds_rollout": time.perf_counter() - started - waited,
            "seconds_reward": waited,
            "zero_variance_groups": len(flat) / len(found),
            **_figures([one for group in found for one in group]),
        }
        return [one for group in kept for one in group], figures

    def batch(self, loaded: Loaded, update: int) -> tuple[Batch, dict[str, float]]:
        """This process' share of the completions of an update."""
        settings, rank, world = self.settings, self.accelerator.process_index, self.sync.world
        rollouts, figures = self.roll(loaded, update)
        samples = settings.rollout.samples
        rewards = [one.reward.total for one in rollouts]
        reward_B = torch.tensor([math.nan if r is None else r for r in rewards]).double()
        group_B = torch.arange(len(rollouts)) // samples
        if settings.permute_rewards:
            reward_B = permuted(reward_B, group_B, seed=settings.seed, step=update)
        length_B = torch.tensor([_length(one.trace) for one in rollouts])
        advantages = settings.advantage(reward_B, group_B, length_B)
        entropies = [torch.from_numpy(o.trace.entropy[o.trace.step >= 0]) for o in rollouts]
        own = [
            b for b in range(len(rollouts)) if group_B[b] % world == rank and advantages.kept_B[b]
        ]
        batch = Batch(
            tuple(rollouts[b].trace for b in own),
            advantages.advantage_B[own].float(),
            update,
            settings.seed,
            truncation_of(settings.rollout),
            self.entropy,
        )
        batch = without_flat(batch, settings.update, self.loaded.denoiser.terminator_ids)
        self.entropy = HapoStats.of(torch.cat(entropies))
        return batch, figures

    # --- checkpoints ---------------------------------------------------------------------------

    def save(self, place: Place) -> None:
        """The state between two iterations appears whole or not at all."""
        accelerator = self.accelerator
        own: dict[str, Any] = {"update": place.update, "index": place.index}
        own["entropy"] = None if self.entropy is None else vars(self.entropy)
        own["reference"] = None if self.reference is None else self.reference.state()
        own["figures"] = place.figures
        own["done"] = [one._asdict() | {"metrics": vars(one.metrics)} for one in place.done]
        own["batch"] = None if place.prepared is None else _batch_state(place.prepared)
        name, together = f"checkpoint-{place.update}-{place.index}", accelerator.wait_for_everyone
        main = accelerator.is_main_process
        with new_checkpoint(self.run.folder, name, main=main, together=together) as building:
            accelerator.save_state(str(building / "state"))
            with (building / f"rank-{accelerator.process_index}.pt").open("wb") as file:
                torch.save(own, file)

    def restore(self) -> Place | None:
        """Where the last checkpoint was written, with its state; None without one.

        Raises ResumeError where another number of processes wrote it: they shared its batch.
        """
        found = checkpoints(self.run.folder)
        if not found:
            return None
        rank, world = self.accelerator.process_index, self.sync.world
        files = len(list(found[-1].glob("rank-*.pt")))
        if files != world:
            raise ResumeError(
                f"{found[-1]}: written by {files} processes, now there are {world}; continue with as many"
            )
        device = self.loaded.denoiser.device
        own = torch.load(found[-1] / f"rank-{rank}.pt", weights_only=True, map_location=device)
        self.accelerator.load_state(str(found[-1] / "state"))
        self.entropy = None if own["entropy"] is None else HapoStats(**own["entropy"])
        if self.reference is not None:
            self.reference.load(own["reference"])
        done = [Stepped(**one | {"metrics": Metrics(**one["metrics"])}) for one in own["done"]]
        prepared = None if own["batch"] is None else self._prepared_again(own["batch"])
        return Place(own["update"], own["index"], prepared, own["figures"], done)

    def _prepared_again(self, state: dict[str, Any]) -> Prepared:
        """A batch in mid-iteration: plans are made again, what other policies said was kept."""
        settings = self.settings
        batch = Batch(
            tuple(Trace.from_json(trace) for trace in state["traces"]),
            state["advantage_B"],
            state["step"],
            settings.seed,
            truncation_of(settings.rollout),
            None if state["entropy"] is None else HapoStats(**state["entropy"]),
            Totals(*state["silent"]),
            state["idle"],
        )
        prepared = prepare(
            self.loaded.denoiser, batch, settings.update, self.sync, known=state["iterations"]
        )
        return replace(prepared, passes=state["passes"])


def _batch_state(prepared: Prepared) -> dict[str, Any]:
    batch = prepared.batch
    return {
        "traces": [trace.to_json() for trace in batch.traces],
        "advantage_B": batch.advantage_B,
        "step": batch.step,
        "silent": [batch.silent.completions, batch.silent.tokens],
        "idle": batch.idle,
        "entropy": None if batch.entropy is None else vars(batch.entropy),
        "iterations": [(one.old_N, one.ref_N) for one in prepared.iterations],
        "passes": prepared.passes,
    }


def truncation_of(rollout: GenerateConfig) -> Truncation:
    return Truncation(rollout.top_k, rollout.top_p, rollout.min_p, rollout.temperature_last)


def _varied(group: list[Rollout]) -> bool:
    """Whether the known rewards of a group differ: else it teaches nothing."""
    return len({one.reward.total for one in group} - {None}) > 1


def _length(trace: Trace) -> int:
    """Written positions: what a token-level average over a group counts."""
    return int((trace.step >= 0).sum())


def _figures(rollouts: list[Rollout]) -> dict[str, float]:
    """What a batch of completions looks like."""
    forms = [canonical(one.program) for one in rollouts]
    unique = {form or one.program for form, one in zip(forms, rollouts, strict=True)}
    written = [one.trace.step >= 0 for one in rollouts]
    committed = sum(int(w.sum()) for w in written)

    def mean(name: str) -> float:
        total = sum(
            float(getattr(o.trace, name)[w].sum()) for o, w in zip(rollouts, written, strict=True)
        )
        return total / committed

    return {
        **means(one.reward for one in rollouts),
        "unique_programs": len(unique) / len(rollouts),
        "valid": sum(form is not None for form in forms) / len(rollouts),
        "length": committed / len(rollouts),
        "rollout_entropy": mean("entropy"),
        "tempered_entropy": mean("tempered_entropy"),
        "rollouts": len(rollouts),
        "rollout_passes": sum(one.nfe for one in rollouts),
        "rollout_positions": sum(one.nfe * len(one.trace.token) for one in rollouts),
    }


# --- evaluation --------------------------------------------------------------------------------


def evaluate(trainer: Trainer, loaded: Loaded) -> dict[str, float]:
    """pass@1 on minicode's dev split at temperature 0, and the AR-ness of the answers, at the usual pace
    and at those asked for."""
    settings = trainer.settings
    known = trainer.kept.get(ids("dev", 0, settings.evaluate_problems))
    figures: dict[str, float] = {}
    for steps in (None, *settings.evaluate_steps):
        schedule = None if steps is None else "quota"
        config = GenerateConfig(steps=steps, schedule=schedule, batch_size=64)
        done = list(complete(loaded, [problem for problem, _ in known], config))
        passed, valid = shares(trainer.sandbox, known, done)
        pace = "" if steps is None else f"_{steps}"
        figures |= {f"dev_pass{pace}": passed, f"dev_valid{pace}": valid}
        figures |= {name + pace: value for name, value in arness_of(loaded, done).items()}
    return figures


def arness_of(loaded: Loaded, done: list[Completion]) -> dict[str, float]:
    """Means over completions, up to their terminators."""
    orders = [order_of(one.trace, loaded.denoiser.terminator_ids) for one in done]
    return {
        "dev_arness_local1": sum(map(local_arness, orders)) / len(orders),
        "dev_arness_global1": sum(map(global_arness, orders)) / len(orders),
        "dev_arness_global4": sum(global_arness(one, 4) for one in orders) / len(orders),
    }


# --- the run -----------------------------------------------------------------------------------


def train(settings: CoupledGrpo) -> Path:
    """Run or continue a training; returns the folder of the finished model."""
    job = partial(fit, settings)
    return trained(settings, "coupled_grpo", job, grad_norm=settings.update.grad_norm)


def fit(settings: CoupledGrpo, accelerator: Accelerator, run: Run) -> None:
    """All of a run between its folder and its page."""
    with Sandbox(tier="strongest") as sandbox:
        trainer = build(settings, accelerator, run, sandbox)
        with bar("updates", accelerator.is_main_process) as progress:
            learn(trainer, progress)
    save_trained(trainer.weights, trainer.loaded, run.folder / "model")


def build(settings: CoupledGrpo, accelerator: Accelerator, run: Run, sandbox: Sandbox) -> Trainer:
    """Model, reference, optimiser and problems."""
    loaded = load(settings.model, device=accelerator.device, dtype=settings.dtype)
    if (loaded.decoder == "ar") != isinstance(settings.update.estimator, Autoregressive):
        raise ConfigError(
            f"model {settings.model!r} decodes by {loaded.decoder}, and the estimator is "
            f"{settings.update.estimator.kind}: autoregressive is for AR models, the others for diffusion"
        )
    if loaded.decoder == "ar" and settings.evaluate_steps:
        raise ConfigError(
            f"evaluate_steps {settings.evaluate_steps}: {settings.model} writes one token a step"
        )
    kept = Problems(Path(settings.problems_folder or run.folder))
    with accelerator.main_process_first():
        found = graded.load(settings.source, sandbox=sandbox, make=kept.get)
    usable, refused = fitting(loaded, found.problems, settings.rollout)
    if accelerator.is_main_process:
        print(f"{found.summary()}; over the model's limit: {len(refused)}")
    if len(usable) < settings.prompts:
        raise ConfigError(
            f"prompts {settings.prompts}: there are {len(usable)} problems; ask for fewer, or give more"
        )
    if settings.lora is not None:
        add_lora(loaded.denoiser.model, settings.lora, settings.seed)
    if settings.gradient_checkpointing:
        recompute_layers(loaded.denoiser.model)
    policy, optimizer, weights = distribute(
        accelerator, loaded.denoiser, settings.optimizer, compiled=settings.compile
    )
    reference = None
    if settings.update.objective.beta > 0:
        base = settings.lora is not None and not settings.reference.every
        reference = ReferencePolicy(weights, base=base)
    problems = ProblemSet(tuple(usable), found.left_out)
    return Trainer(
        settings,
        accelerator,
        run,
        loaded,
        policy,
        weights,
        optimizer,
        reference,
        problems,
        sandbox,
        kept,
    )


def learn(trainer: Trainer, progress: Progress) -> None:
    settings, run, main = trainer.settings, trainer.run, trainer.accelerator.is_main_process
    each = settings.update.iterations
    place = trainer.restore()
    if main:
        run.rewind(-1 if place is None else place.update)
    if place is None:
        place = Place()
        look(trainer, 0)
    task = progress.add_task("", total=settings.updates, completed=place.update, note="")
    for update in range(place.update, settings.updates):
        if place.prepared is None:
            place.figures, place.prepared = begin(trainer, update)
        started = time.perf_counter()
        for index in range(place.index, each):
            rate = settings.optimizer.at(update * each + index, settings.updates * each)
            for group in trainer.optimizer.param_groups:
                group["lr"] = rate
            place.done.append(one_step(trainer, place.prepared, index))
            place.index = index + 1
            if place.index < each and (update + 1) % settings.checkpoint_every == 0:
                trainer.save(place)
        synchronise(trainer, update)
        figures = place.figures | summary(place.done, rate) | passes(trainer, place)
        figures["seconds_update"] = time.perf_counter() - started
        if main:
            run.log({"step": update + 1, **figures})
        look(trainer, update + 1)
        place = Place(update + 1)
        if place.update % settings.checkpoint_every == 0 or place.update == settings.updates:
            trainer.save(place)
        note = f"reward {figures.get('reward', math.nan):.3f}"
        progress.update(task, completed=place.update, note=note)


def look(trainer: Trainer, update: int) -> None:
    """Evaluate the policy after so many updates, if that is asked for; log it and draw the run's page."""
    every, last = trainer.settings.evaluate_every, trainer.settings.updates
    wanted = every and (update % every == 0 or update == last)
    if not wanted:
        return
    with trainer.weights.whole() as denoiser:
        if trainer.accelerator.is_main_process:
            loaded = replace(trainer.loaded, denoiser=denoiser)
            trainer.run.log({"step": update, **evaluate(trainer, loaded)})
            write_page(trainer.run.folder)


def begin(trainer: Trainer, update: int) -> tuple[dict[str, float], Prepared]:
    """An update's rollouts, and what old and reference policy say of them: all that takes whole weights,
    which are gone again when it returns."""
    with trainer.weights.whole() as denoiser:
        loaded = replace(trainer.loaded, denoiser=denoiser)
        batch, figures = trainer.batch(loaded, update)
        reference = None if trainer.reference is None else trainer.reference.whole()
        with trainer.weights.autocast():
            prepared = prepare(denoiser, batch, trainer.settings.update, trainer.sync, reference)
    return figures, prepared


def one_step(trainer: Trainer, prepared: Prepared, index: int) -> Stepped:
    most = trainer.sync.largest(torch.tensor(float(len(prepared.batch.traces))))
    return iterate(
        trainer.policy,
        trainer.optimizer,
        prepared,
        index,
        trainer.settings.update,
        trainer.sync,
        least=int(most),
    )


def synchronise(trainer: Trainer, update: int) -> None:
    """Let the reference follow the policy where the settings say so."""
    chosen, reference = trainer.settings.reference, trainer.reference
    if reference is not None and chosen.every and (update + 1) % chosen.every == 0:
        reference.follow(chosen.mix)


def passes(trainer: Trainer, place: Place) -> dict[str, float]:
    """What learning from a batch took, over all processes: forward passes, and their positions."""
    assert place.prepared is not None
    made = place.prepared.passes + sum(one.passes for one in place.done)
    length = place.prepared.rows.canvas.shape[1]
    total = trainer.sync.total(torch.tensor([made, made * length]).double())
    return {"forward_passes": int(total[0]), "forward_positions": int(total[1])}


def summary(done: list[Stepped], rate: float) -> dict[str, float]:
    """The figures of an update: the first iteration's gap, the last one's state, means of the rest."""
    means = [one.metrics.means() for one in done]

    def mean(name: str) -> float:
        return sum(one[name] for one in means) / len(means)

    return {
        "loss": sum(one.loss for one in done) / len(done),
        "grad_norm": sum(one.grad_norm for one in done) / len(done),
        "ratio_mean": mean("ratio"),
        "ratio_first_deviation": means[0]["ratio_gap"],
        "ratio_last_deviation": means[-1]["ratio_gap"],
        "clip_fraction": mean("clipped_low") + mean("clipped_high"),
        "kl": mean("kl"),
        "entropy": mean("entropy"),
        "rate": rate,
    }


if __name__ == "__main__":
    command(CoupledGrpo, train, __doc__)
