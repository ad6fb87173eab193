"""Readers and writers, one module a format; all meet in `records.Results`."""
