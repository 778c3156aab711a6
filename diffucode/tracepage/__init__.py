"""One HTML file that plays recorded traces, side by side. It loads nothing from anywhere.

page.py     traces ──> trace page
page.css    how it looks, dark and light
page.js     slider, play, colours, what the pointer rests on
"""
