"""The command line: parse arguments, call the API, print. No decisions."""
