"""Recordings made into arrays and files: importers, exporters, epochs. Nothing is here yet."""
