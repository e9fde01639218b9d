"""Typed configuration, composed by Hydra from the groups in ``skelift/conf``.

One ``Config`` is the whole record of a run; every stage takes it and reads its own part.
"""

from skelift.config.compose import GROUPS as GROUPS
from skelift.config.compose import compose as compose
from skelift.config.compose import each_variant as each_variant
from skelift.config.compose import to_yaml as to_yaml
from skelift.config.compose import vary as vary
from skelift.config.schema import *  # noqa: F403 - the sections
