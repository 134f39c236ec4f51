"""Types and shapes of `microtome.numerics` are checked by beartype under test; the package itself only carries annotations."""

import sys
from types import ModuleType

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The hook wants its checker by dotted name; this module exists in memory only, whatever pytest's import mode.
NAME = "microtome_shape_checker"

if NAME not in sys.modules:
    checker = ModuleType(NAME)
    checker.checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
    sys.modules[NAME] = checker
    install_import_hook("microtome.numerics", f"{NAME}.checked")
    # Modules that other tests imported before are imported again under the hook; nobody compares their classes.
    for name in [name for name in sys.modules if name.startswith("microtome.numerics")]:
        del sys.modules[name]
