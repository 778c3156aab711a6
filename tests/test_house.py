"""The house rules no linter knows: the floors, a light import, nothing of anybody's machine."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "diffucode").rglob("*.py"))


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_floors_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import diffucode; "
        "took = time.perf_counter() - start; "
        "print(took, *sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    seconds = []
    for _ in range(3):
        took, *loaded = run_python(code).split()
        assert loaded == [], f"import diffucode loads {loaded}"
        seconds.append(float(took))
    assert min(seconds) < 0.3


def test_help_and_bad_options_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "from diffucode.cli import main\n"
        "for arguments in (['--help'], ['generate', '--help'], ['generate', '--no-such-option']):\n"
        "    try:\n"
        "        main(arguments)\n"
        "    except SystemExit as done:\n"
        "        print('exit', done.code)\n"
    )
    assert re.findall(r"^exit (\d+)$", run_python(code), re.MULTILINE) == ["0", "0", "2"]


def test_the_package_imports_no_script() -> None:
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"train", "eval", "scripts", "tests"}, path


def test_only_models_know_what_logits_are_called() -> None:
    for path in PACKAGE:
        if (ROOT / "diffucode" / "models") not in path.parents:
            assert not re.search(r"\.logits\b", path.read_text()), path


def test_no_global_seed_and_no_remote_code() -> None:
    seeds = re.compile(r"\b(manual_seed|set_seed|random\.seed|trust_remote_code\s*=\s*True)\b")
    for path in PACKAGE:
        for line in path.read_text().splitlines():
            assert not seeds.search(line) or "generator" in line.lower(), f"{path}: {line}"


def test_tracked_files_name_no_machine_and_are_finished() -> None:
    absolute = re.compile(r"(?<![\w.~$}/-])/(?:work|farm|root|opt|home|Users|mnt|scratch)/[\w.]")
    unfinished = re.compile(r"\b(?:TODO|FIXME|XX" + r"X|NotImplementedError)\b")
    for path in tracked_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            place = f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            assert not absolute.search(line), place
            if path != Path(__file__):
                assert not unfinished.search(line), place


def test_tracked_files_are_small() -> None:
    for path in tracked_files():
        limit = 5_000_000 if path.suffix == ".safetensors" else 1_000_000
        assert path.stat().st_size < limit, path
