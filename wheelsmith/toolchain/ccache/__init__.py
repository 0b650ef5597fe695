"""The compile cache: objects and device code by content, on this machine and shared."""
