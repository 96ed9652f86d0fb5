"""Array backends: `numpy`, and `cupy` for CUDA devices. They know operations, never layers or YAML."""
