"""Lists and dicts that contain themselves."""


def solve(nums):
    loop = [nums]
    loop.append({"loop": loop})
    return loop
