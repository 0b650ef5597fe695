"""A project's CMake files, read without running them."""
