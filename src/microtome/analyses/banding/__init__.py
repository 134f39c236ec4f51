"""Weight banding: do the spatial weights of a layer repeat one pattern in bands?"""

from microtome.analyses.banding.banding import Banding as Banding
