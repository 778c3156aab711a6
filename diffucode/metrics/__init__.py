"""Figures from counts: no model, no sandbox, no torch."""
