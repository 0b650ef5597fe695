"""Many builds, or one that is split, on many machines: over Dask distributed, which schedules, and the compile cache,
which carries the objects."""
