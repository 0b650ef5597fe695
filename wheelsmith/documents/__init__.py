"""The JSON documents that wheelsmith prints and keeps: their shapes, each defined once.

Sizes are bytes, durations seconds, digests SHA-256 in hex. `schema_version` grows when a key changes its meaning or
goes; new keys may come. Rooms import the shapes for the type checker only, which holds every `to_dict` against them.
"""
