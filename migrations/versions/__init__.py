"""One file a schema change, named by number and by what changed."""
