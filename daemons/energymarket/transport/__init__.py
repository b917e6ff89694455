"""Bytes through one mechanism of the kernel per file. Nothing here decides."""
