"""User and item tables as features: what each column is, encoded once, for all models that read them.

`guess_schema(table)` says what the columns are; `FeatureSet` is what the analyst made of it; `FeatureEncoder` learns the
fields of a table and encodes further rows (new items, new users) in the same columns; `derived` has the high-level
features, which come from the training part. Models come in by `models._features.SideFeatures`.
"""

from .encoder import CYCLES as CYCLES
from .encoder import FeatureEncoder as FeatureEncoder
from .encoder import FeatureTable as FeatureTable
from .encoder import encode_table as encode_table
from .encoder import guess_schema as guess_schema
from .feature_set import FeatureSet as FeatureSet
from .fields import GROUPING as GROUPING
from .fields import KINDS as KINDS
from .fields import NOTHING as NOTHING
from .fields import OTHER as OTHER
from .fields import Scale as Scale
from .guessing import Guess as Guess
