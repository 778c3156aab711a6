"""Answer a benchmark on several processes or machines: what ``diffucode samples`` does, sharded by rank.

    accelerate launch eval/generate_samples.py --config configs/eval/samples_humaneval.yaml generate.seed=1

    tasks[rank::world] ──> samples ──> part-RANK.jsonl ──all ranks──> samples.jsonl and its sidecars

A sample is a function of (seed, task, n): neither the number of processes nor a kill changes a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from accelerate import Accelerator

from diffucode.generate.model import open_model
from diffucode.generate.settings import GenerateConfig
from diffucode.measure.benchmarks import benchmark
from diffucode.measure.submission import Extractor, merge, open_submission, write_samples
from diffucode.progress import Bars, silent
from diffucode.runs import command
from diffucode.tasks.forms import Form


@dataclass(frozen=True)
class Samples:
    output_dir: str = "runs/samples"
    dataset: str = "humaneval"
    """humaneval, mbpp, minicode[:SPLIT[:SEED]], or a file of EvalPlus' format."""
    data: str | None = None
    """Folder that holds the files of humaneval and mbpp."""
    first: int | None = None
    """The first so many tasks. None: all; of minicode 200."""
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    form: Form = "diffucoder"
    """The words of the prompts: diffucoder, evalplus, or plain (then ``generate.prompt_style`` says)."""
    extractor: Extractor = "diffucode"
    traces: bool = False


def answer(settings: Samples) -> Path:
    """Write what is missing of the samples, and merge them; returns samples.jsonl."""
    accelerator = Accelerator()
    rank, world = accelerator.process_index, accelerator.num_processes
    config = settings.generate
    if config.device == "auto":
        config = replace(config, device=str(accelerator.device))
    data = None if settings.data is None else Path(settings.data)
    asked = benchmark(settings.dataset, first=settings.first, data=data)
    with accelerator.main_process_first():
        submission = open_submission(
            Path(settings.output_dir),
            asked,
            config,
            form=settings.form,
            extractor=settings.extractor,
            traces=settings.traces,
        )
    loaded, _ = open_model(config)
    with Bars() as bars:
        progress = bars if accelerator.is_main_process else silent
        write_samples(submission, loaded, config, rank=rank, world=world, progress=progress)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        merge(submission, loaded)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return submission.file


if __name__ == "__main__":
    command(Samples, answer, __doc__)
