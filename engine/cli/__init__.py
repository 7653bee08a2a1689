"""The command line: one file per noun; verbs dispatch commands. Knows no adapter."""
