"""What the tests of studies share with those of measuring."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "measure"))  # twice
