"""What the rest asks of the database besides the queue: one duty a file, each on a Connection."""
