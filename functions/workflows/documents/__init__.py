"""Reads and analyses documents, by pure functions without workflows."""
