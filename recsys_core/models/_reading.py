"""What a model says of the columns it reads, before it is fitted."""

from __future__ import annotations

from typing import ClassVar

from ..params import Params


class Reading:
    """Of models that read the columns of the user and item tables, as the dataset's feature set has them."""

    reads_features: ClassVar[bool] = False
    feature_sides: ClassVar[tuple[str, ...]] = ("user", "item")  # whose columns
    without_kinds: ClassVar[tuple[str, ...]] = ()  # kinds of columns passed over whatever the parameters

    @classmethod
    def reads(cls, params: Params) -> bool:
        """Whether it reads columns with these parameters. Override where its parts do the reading."""
        return cls.reads_features

    @classmethod
    def judged_on_new(cls, params: Params) -> bool:
        """Whether validation on new items can guide it, where a split keeps items out; otherwise it is validated on known ones."""
        return cls.reads(params)

    @classmethod
    def unread_kinds(cls, params: Params) -> tuple[str, ...]:
        """Kinds of columns passed over with these parameters. Override where parameters choose."""
        return cls.without_kinds
