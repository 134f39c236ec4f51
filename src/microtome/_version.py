"""The version, in one place: no module needs the whole package to say it."""

__version__ = "0.1.0"
