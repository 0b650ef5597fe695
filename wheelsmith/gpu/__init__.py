"""Facts about GPUs, compute capabilities, toolkits and drivers, and the arithmetic on them."""
