"""How many different algorithms samples files hold, file beside file.

files       samples and their verdicts, task by task
rows        what is compared: files at equal size, their pool, the reference solutions
labels      which programs of a task are the same algorithm, over all rows at once
figures     the figures of one task of one row, and what they are called
means       their means over tasks, with intervals
comparison  tables: on all tasks, on those that a row solves, on those that all solve
"""
