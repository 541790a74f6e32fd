"""Any long work: a folder on disk, a worker that holds its lock, and state that is read, never remembered."""
