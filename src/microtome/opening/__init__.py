"""From a name, a function or a file to a Specimen."""
