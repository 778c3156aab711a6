"""What temperature buys at test time: cells chosen on ``dev``, sampled on ``test``, compared at equal cost.

plan      which cells, and the rule that picks those with more samples      figures   cells to comparisons
stages    choices, test, deep: a sweep each, in one folder                  report    comparisons to markdown
plot      the pictures
"""
