"""ELF files, archives, fatbins and cubins: bytes into frozen values. Uses none of NVIDIA's tools."""
