"""Published model families: how each one's config.json and weight names map onto stock classes."""
