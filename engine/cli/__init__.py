"""The command line. Each noun has a file; its verbs dispatch commands. It imports no adapter."""
