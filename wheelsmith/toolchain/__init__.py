"""What compiles: the interpreter, the hash-locked build environment, and the CUDA toolkit."""
