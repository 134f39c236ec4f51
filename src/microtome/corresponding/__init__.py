"""The same part masked in several pictures: which pictures and parts, and what masking them amounts to."""
