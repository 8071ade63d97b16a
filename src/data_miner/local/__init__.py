"""Local mode: the same workers and the same PostgreSQL, on one machine and in one folder."""
