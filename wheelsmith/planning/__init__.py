"""Recipe × Target → `Plan`: everything about a build, decided once, before anything is fetched or run."""
