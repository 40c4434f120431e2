"""What a column can be: kinds of fields, each a class that learns from a column and then encodes any column like it."""

from __future__ import annotations

from ._categories import MOST_VALUES as MOST_VALUES
from ._categories import Categorical, MultiValued
from ._field import NOTHING as NOTHING
from ._field import OTHER as OTHER
from ._field import Field as Field
from ._field import Id as Id
from ._numeric import Date, Numeric
from ._numeric import Scale as Scale
from .text_field import Text
from .vector_field import Vector

KINDS: dict[str, type[Field]] = {one.kind: one for one in (Categorical, MultiValued, Numeric, Date, Text, Vector, Id)}
GROUPING = ("categorical", "multi_valued", "numeric", "date")  # kinds whose values part rows into groups
