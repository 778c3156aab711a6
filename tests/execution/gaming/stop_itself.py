"""Stop the process for ever without using time."""

import os
import signal


def solve(nums):
    os.kill(os.getpid(), signal.SIGSTOP)
    signal.pause()
