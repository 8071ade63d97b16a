"""Models as functions: arrays in, arrays out."""
