"""Headless Chromium, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


def rendered(page: Path, hash: str, profile: Path) -> str:
    """The document after its scripts ran, of a page opened at ``#hash``. Skips without a browser."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no headless Chromium; looked for {', '.join(NAMES)}")
    done = subprocess.run(
        [
            found,
            "--headless",
            *QUIET,
            f"--user-data-dir={profile}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            f"{page.resolve().as_uri()}#{hash}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
