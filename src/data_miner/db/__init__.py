"""The schema: names, types, constraints, indexes, and the SQL that works on them."""
