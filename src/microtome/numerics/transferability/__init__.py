"""Scores that predict from features and labels how well a backbone will serve a task, without training it."""
