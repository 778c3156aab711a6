"""Leave folders that resist being cleaned: no rights, deep, odd names, held open."""
# ruff: noqa: SIM115

import os

for number in range(3):
    folder = f"/tmp/leaked{number}"
    try:
        os.makedirs(folder + "/d" * 200, exist_ok=True)
        open(folder + "/\udcff\n", "w").close()
        held = open(folder + "/held", "w")
        os.unlink(folder + "/held")
        os.chmod(folder, 0)
    except OSError:
        pass


def solve(nums):
    return -1
