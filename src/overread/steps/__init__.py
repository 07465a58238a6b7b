"""A person's verbs: one file, one verb, one command."""
