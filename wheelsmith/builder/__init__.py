"""The stages of a build in order: build, finalize, rebuild."""
