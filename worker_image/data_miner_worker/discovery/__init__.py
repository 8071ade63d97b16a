"""Finds out which videos a source has, before any byte of one is fetched."""
