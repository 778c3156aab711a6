"""One thread (the models are tiny and the cores are few), no network, and what ``scripts/`` shares."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))  # the published loops

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is first imported
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
