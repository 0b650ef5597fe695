"""Where a wheel comes from: provenance, SBOM, signatures, and what they are checked against."""
