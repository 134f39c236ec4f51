"""Types and shapes of `microtome.numerics` are checked by beartype under test; the package itself only carries annotations."""

import sys
from types import ModuleType

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The hook wants its checker by dotted name; this module exists in memory only, whatever pytest's import mode.
checker = ModuleType("microtome_shape_checker")
checker.checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
sys.modules[checker.__name__] = checker
install_import_hook("microtome.numerics", f"{checker.__name__}.checked")
# Modules that other tests imported before are imported again under the hook; nobody compares their classes.
for name in [name for name in sys.modules if name.startswith("microtome.numerics")]:
    del sys.modules[name]
