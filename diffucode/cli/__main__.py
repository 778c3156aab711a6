"""``python -m diffucode.cli``."""

from diffucode.cli import main

main()
