"""One capability each; what a construct needs is given by keyword."""
