"""Change the returned list from a thread while it is being written."""

import threading

value = [[0]] * 100


def change():
    while True:
        value.append([len(value)])
        del value[50:]
        value.extend([[1]] * 100)


threading.Thread(target=change, daemon=True).start()


def solve(nums):
    return value
