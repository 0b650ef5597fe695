"""The command line: parse arguments, call the front door, print. No decisions."""
