"""``diffucode serve``: an OpenAI-compatible server for one model."""

from __future__ import annotations

from importlib import util
from typing import Annotated, Any

import typer

from diffucode.cli.options import DECODING, ConfigFile, config_of, flag, takes
from diffucode.errors import MissingExtra

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the config.")
]
Host = Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel="Server")]
Port = Annotated[
    int,
    typer.Option(
        min=0, max=65535, help="Port to listen on; 0 takes a free one.", rich_help_panel="Server"
    ),
]
LIMITS = {
    "queue": flag(int, "Server", "Completions that may wait for a row; more get 429. (64)"),
    "body": flag(int, "Server", "Bytes of a request. (1 MiB)", "--max-body"),
    "drain": flag(float, "Server", "Seconds that running requests get to finish at the end. (30)"),
}
"""Fields of ``Limits``."""


@takes(LIMITS, DECODING)
def serve(
    overrides: Overrides = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    config: ConfigFile = None,
    *,
    flags: dict[str, Any],
) -> None:
    """Serve a model over HTTP as OpenAI does; the options are defaults that requests may override."""
    for package in ("fastapi", "uvicorn"):
        if util.find_spec(package) is None:
            raise MissingExtra(
                f'serve needs the package {package}, which is not installed: pip install "diffucode[serve]"'
            )
    given = {name: flags.pop(name) for name in LIMITS if name in flags}
    settings = config_of(config, overrides or [], flags)

    from diffucode.serve.limits import Limits

    limits = Limits(**given)

    from diffucode.generate.model import open_model
    from diffucode.serve.server import listen, serve

    with listen(host, port) as listening:
        loaded, decoder = open_model(settings)
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}/v1"

        def ready() -> None:
            typer.echo(f"diffucode: serving {loaded.name} at {url}", err=True)

        serve(loaded, decoder, settings, limits, listening, ready)
