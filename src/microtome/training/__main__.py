"""`python -m microtome.training NETWORK --out DIR`: train one of the mini networks by its recipe, judge it, write its card."""

import sys

from microtome.training.zoo.command import main

if __name__ == "__main__":
    sys.exit(main())
