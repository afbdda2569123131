"""The measured sections of a student's card: one check a file, each by itself, each kept when it is done."""
