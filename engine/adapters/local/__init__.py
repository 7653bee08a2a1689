"""What one machine provides: worker locks and timers."""
