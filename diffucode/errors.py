"""Every error diffucode raises on purpose.

    DiffucodeError
    ├── ConfigError       (ValueError)    a config file or override that does not fit its dataclass
    ├── PlanError         (ValueError)    a sampling plan that asks for the impossible (tau < 0, steps 0, ...)
    ├── CanvasError       (ValueError)    a write to a closed position, a canvas nothing can be decoded on
    ├── PromptError       (ValueError)    an empty prompt, one over the limit, a file without holes
    ├── CheckpointError   (ValueError)    a checkpoint that is broken, incomplete or of an unknown family
    ├── ModelNotFound     (LookupError)   no bundled, installed, local or hub model of that name
    ├── ModelOutputError  (ArithmeticError)  logits that are not numbers
    ├── MissingExtra      (ImportError)   a feature whose optional package is not installed
    ├── TraceError        (ValueError)    a trace file of another version or with columns that disagree
    ├── SandboxError      (RuntimeError)  no isolation to be had here, or a sandbox that cannot work
    ├── TaskError         (ValueError)    a task or data set that is asked for something it does not have
    ├── ResumeError       (ValueError)    a run folder that does not fit the run that wants to continue it
    ├── JobError          (RuntimeError)  a job of a study that ended without a result
    ├── ServeError        (RuntimeError)  a server that cannot start, a request that it turns away
    └── JudgeError        (RuntimeError)  a judge that cannot be asked or gives no answer

Each also inherits the standard error it refines, so ``except ValueError`` keeps working. A message
names the place, what was expected, what came and the likely fix; the command line prints it as one
line and exits with code 2.
"""


class DiffucodeError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(DiffucodeError, ValueError):
    """A config file or override that does not fit its dataclass."""


class PlanError(DiffucodeError, ValueError):
    """A sampling plan that asks for the impossible."""


class CanvasError(DiffucodeError, ValueError):
    """A write to a closed position, or a canvas on which nothing can be decoded."""


class PromptError(DiffucodeError, ValueError):
    """An empty prompt, one over the limit, or a file without holes."""


class CheckpointError(DiffucodeError, ValueError):
    """A checkpoint that is broken, incomplete or of an unknown family."""


class ModelNotFound(DiffucodeError, LookupError):
    """No bundled, installed, local or hub model of that name."""


class ModelOutputError(DiffucodeError, ArithmeticError):
    """Logits that are not numbers."""


class MissingExtra(DiffucodeError, ImportError):
    """A feature whose optional package is not installed."""


class TraceError(DiffucodeError, ValueError):
    """A trace file of another version, or one whose columns disagree."""


class SandboxError(DiffucodeError, RuntimeError):
    """No isolation to be had on this machine, or a sandbox that cannot do its work."""


class TaskError(DiffucodeError, ValueError):
    """A task or data set that is asked for something it does not have."""


class ResumeError(DiffucodeError, ValueError):
    """A run folder that does not fit the run that wants to continue it."""


class JobError(DiffucodeError, RuntimeError):
    """A job of a study that ended without a result."""


class ServeError(DiffucodeError, RuntimeError):
    """A server that cannot start, or a request that it turns away."""


class JudgeError(DiffucodeError, RuntimeError):
    """A judge of programs that cannot be asked or gives no answer."""
