"""What runs in a network: operations, channels, gates, paths, counts."""
