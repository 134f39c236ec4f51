"""The HTML report: the page with its data inside."""
