"""A frame under the right name that never quite ends."""
# ruff: noqa: E402

import os
import struct
import sys


def speak(payload, kind=2, size=None):
    frame = sys._getframe(1)
    while frame and "name" not in frame.f_locals:
        frame = frame.f_back
    name = frame.f_locals["name"]
    os.write(4, struct.pack("<B8sQ", kind, name, len(payload) if size is None else size) + payload)
    return name


import time


def solve(nums):
    speak(b"u\xff\xff\x7f", size=1 << 20)
    while True:
        os.write(4, b"x")
        time.sleep(0.01)
