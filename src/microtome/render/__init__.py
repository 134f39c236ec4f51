"""Two renderers for panels: papers (`mpl`) and the page (`html`)."""
