"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, fields

from diffucode.errors import ConfigError

MAY_BE_0 = ("ood",)


@dataclass(frozen=True)
class Settings:
    """The defaults are those of docs/models.md."""

    seeds: tuple[int, ...] = (1, 2, 3)
    """Of the test problems at temperature 0, pooled; the first is that of all else, of the noise and of
    the resampling."""
    problems: int = 1000
    """Of the test split under each seed, at temperature 0."""
    ood: int = 300
    """Of unseen operations, at temperature 0 and the usual pace."""
    pass_problems: int = 300
    """Of the dev split, for pass@k."""
    pass_samples: int = 64
    pass_k: int = 64
    temperatures: tuple[float, ...] = (1.0,)
    group_problems: int = 200
    """Of the rl split, at temperature 1."""
    group_samples: int = 8
    fork_problems: int = 200
    """Of the test split."""
    cost_rows: int = 64
    """Rows of the batch that is timed."""
    cost_repeats: int = 3

    @property
    def seed(self) -> int:
        """The first one."""
        return self.seeds[0]

    def __post_init__(self) -> None:
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds: expected one or more, each once, got {self.seeds}")
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in MAY_BE_0 else 1
            if isinstance(value, int) and value < least:
                raise ConfigError(f"{field.name}: expected at least {least}, got {value}")
        if self.pass_k > self.pass_samples:
            raise ConfigError(
                f"pass_k={self.pass_k} of pass_samples={self.pass_samples}: k samples are drawn from "
                "those that there are; ask for a smaller k or more samples"
            )


QUICK = Settings(
    seeds=(1,),
    problems=6,
    ood=2,
    pass_problems=2,
    pass_samples=4,
    pass_k=2,
    temperatures=(1.0,),
    group_problems=3,
    group_samples=3,
    fork_problems=3,
    cost_rows=4,
    cost_repeats=1,
)
"""A trial of every part, in seconds; its figures mean nothing."""
