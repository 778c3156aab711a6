"""Comparisons of ways to train: a plan, its jobs one after the other, and a report of the rows they leave.

plan      arms, seeds, comparisons: YAML, written before the runs      jobs       an arm and a seed, to a row
rows      what a job leaves                                            measured   a model to outcomes
voting    the arm that votes instead of training                       figures    rows to estimates
report    estimates to markdown                                        plot       estimates to a picture
"""
