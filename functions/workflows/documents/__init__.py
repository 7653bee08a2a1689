"""Reading and measuring documents: pure functions that know nothing of workflows."""
