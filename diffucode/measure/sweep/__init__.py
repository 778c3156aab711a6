"""Models over temperatures: samples of every cell of a grid, what they are worth, and a page.

plan      which cells, which problems, how many samples       cells     samples of a cell, on disk
grid      all cells of a plan, one after the other             figures   a cell to estimates
matched   diffusion against AR, at equal T and equal pass@1    page      the report
"""
