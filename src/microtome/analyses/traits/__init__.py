"""What deeper, wider and attention networks are good at: the claims of a study, tested on the user's networks and images."""

from microtome.analyses.traits.traits import Traits as Traits
