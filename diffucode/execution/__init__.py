"""Running generated code: it is hostile, it runs here only, and the expected answers never come along."""
