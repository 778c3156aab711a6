"""Lets tests import what ``scripts/`` shares with them (the published loops)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
