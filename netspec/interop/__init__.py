"""Files that other programs wrote: checkpoints, arrays, pictures."""
