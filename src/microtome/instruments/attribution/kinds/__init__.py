"""The kinds of class activation map, one file each; the stem of the file is the name of the kind."""
