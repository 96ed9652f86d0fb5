"""Array backends: `numpy`, and in its own issue `cupy`. They know operations, never layers or YAML."""
