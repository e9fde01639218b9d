"""The stages: one function, one verb of the command line, one DVC stage each."""
