"""Building inside the CUDA devel image, and images that install the result."""
