"""``diffucode models``: what ``--model`` can be without a path or a hub."""

from __future__ import annotations

import dataclasses
import json as jsonlib

import typer

from diffucode.cli.options import Json


def models(json: Json = False) -> None:
    """List the bundled and installed models."""
    from diffucode.models.bundled import available

    found = available()
    if json:
        for info in found:
            typer.echo(jsonlib.dumps(dataclasses.asdict(info)))
        return
    for info in found:
        size = f"{info.parameters / 1e6:8.2f} M  {info.bytes / 1e6:7.1f} MB"
        typer.echo(f"{info.name:12} {info.kind:10} {size}  {info.hint}".rstrip())
    typer.echo("also: a folder or hub id of a Dream, DiffuCoder or LLaDA checkpoint,")
    typer.echo("or of any causal model of transformers, or a .gguf file of one")
