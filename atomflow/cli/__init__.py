"""The command line: parse, call, exit. One file a verb; every verb has a Python function behind it."""
