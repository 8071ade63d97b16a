"""The schema: names, types, constraints and indexes. No rules live here but those a CHECK can say."""
