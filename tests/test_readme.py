"""The README does what it says: its commands run, its set-up lines fit the package, its tree exists."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from running import ROOT, python

from diffucode.cli import app

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHORTER: dict[str, str] = {}
"""Replacements that make a long command short; none of them changes what is run."""


def blocks(kind: str) -> list[str]:
    found = re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, kind
    return found


def shell(command: str, folder: Path) -> str:
    """Standard output of a command, with ``diffucode`` on the path."""
    for long, short in SHORTER.items():
        command = command.replace(long, short)
    program = folder / "bin" / "diffucode"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m diffucode.cli "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("command", blocks("bash run"), ids=range(len(blocks("bash run"))))
def test_commands_run(command: str, tmp_path: Path) -> None:
    assert shell(command, tmp_path).strip()


def test_the_training_command_runs(tmp_path: Path) -> None:
    [command] = blocks("bash train")
    words = command.split()
    assert words[:2] == ["accelerate", "launch"]
    small = ["updates=1", "source.problems=3", "prompts=2", "rollout.samples=2", "evaluate_every=0"]
    run = f"output_dir={tmp_path / 'run'}"
    python("-m", "accelerate.commands.launch", *words[2:], *small, run)
    assert (tmp_path / "run" / "model" / "config.json").exists()


def test_the_first_set_up_line_installs_and_does_the_main_job(tmp_path: Path) -> None:
    first, _ = blocks("bash install")
    *setup, job = first.split(" && ")
    assert setup == ["python3 -m venv .venv", ". .venv/bin/activate", "pip install -e ."]
    assert PROJECT["scripts"]["diffucode"] == "diffucode.cli:main"
    assert "def " in shell(job, tmp_path)


def test_the_second_set_up_line_installs_what_the_tests_need_and_runs_them() -> None:
    _, second = blocks("bash install")
    assert second.split(" && ") == [
        "python3 -m venv .venv", ". .venv/bin/activate", 'pip install -e ".[dev]"', "scripts/test\n",
    ]  # fmt: skip
    assert "dev" in PROJECT["optional-dependencies"]
    assert os.access(ROOT / "scripts" / "test", os.X_OK)
    assert "scripts/test" in (ROOT / ".ci" / "run").read_text()


def test_extras_that_it_names_exist() -> None:
    for extras in re.findall(r"pip install [^\n`]*\[(.+?)\]", README):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_python_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    generating, checking = blocks("python")
    exec(compile(generating, "README.md", "exec"), {})
    assert "def total" in capsys.readouterr().out
    exec(compile(checking, "README.md", "exec"), {})
    assert capsys.readouterr().out == "True\n"


def test_options_that_it_names_exist() -> None:
    import typer

    command = typer.main.get_command(app)
    known = {
        name
        for sub in command.commands.values()  # type: ignore[attr-defined]
        for parameter in sub.params
        for name in parameter.opts
    }
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    spans = [span for span in re.findall(r"`([^`]+)`", prose) if not span.startswith("pip ")]
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*\b", " ".join([*spans, *blocks("bash run")])))
    assert {"--model", "-n", "--trace"} <= named
    assert named <= known


def test_the_tree_and_the_links_exist() -> None:
    [tree] = blocks("text")
    folders: list[str] = []
    for line in tree.splitlines():
        name, indent = line.split()[0], len(line) - len(line.lstrip())
        folders[indent // 2 :] = [name]
        assert (ROOT / "".join(folders)).exists(), line
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
