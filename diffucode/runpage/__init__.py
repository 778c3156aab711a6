"""One HTML file about a run: what was asked, what came of it, curves. It loads nothing from anywhere.

page.py      run folder ──> run.html
panels.py    which figures are drawn together
charts.py    numbers ──> inline SVG
"""
