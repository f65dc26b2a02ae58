"""Figures for papers and pictures for TensorBoard; nothing here computes a result."""
