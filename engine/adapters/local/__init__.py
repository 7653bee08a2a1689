"""Adapters for one machine: worker locks, notifications, timers and the log."""
