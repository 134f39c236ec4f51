"""Does masking the same part change the features of different images in the same way?"""

from microtome.analyses.correspondence.correspondence import Correspondence as Correspondence
