"""Exact texts of diagnostics, beside the files that cause them."""
