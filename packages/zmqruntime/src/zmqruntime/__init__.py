"""zmqruntime."""
