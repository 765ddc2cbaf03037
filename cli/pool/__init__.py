"""`ethos pool`: build, curate, exchange and maintain a pool; `ethos doctor`."""
