"""Training: any network on any labelled images by a recipe, and the mini zoo that is shipped here."""
