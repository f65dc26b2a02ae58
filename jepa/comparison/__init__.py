"""Comparisons of methods: all their runs by one command that can be interrupted, and the report that a paper prints."""
