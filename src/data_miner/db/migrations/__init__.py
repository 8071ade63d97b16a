"""Alembic's script folder. A version is a folder of SQL in sql/; once released it never changes."""
