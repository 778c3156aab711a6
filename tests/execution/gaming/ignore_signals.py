"""Ignore every signal that can be ignored, then loop."""

import signal

for number in signal.valid_signals():
    try:
        signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    except (OSError, ValueError):
        pass


def solve(nums):
    while True:
        pass
