"""Prompts in, completions out: templates, stops, holes and extraction around the decoding engine.

settings    what to generate and how
model       the model that the settings name
prompted    prompts to jobs          infill     files with holes to jobs
stream      jobs to completions      traces     trace files
"""
