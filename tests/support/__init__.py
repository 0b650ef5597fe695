"""What several test modules share: makers of wheels and sources, servers, browsers, recorders."""
