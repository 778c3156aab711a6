"""Which programs for a problem use the same algorithm.

handwritten    programs whose algorithm a person decided, to calibrate clusterers on
"""
