"""Charts: what plotly alone would get wrong."""

from ui import charts
from ui.compare_charts import looks


def test_a_narrow_log_axis_has_ticks():
    fig = charts.loglog({"items": ([14, 21, 27], [3, 40, 12])}, "Interactions per item", "Number of items")
    assert [v for v in fig.layout.xaxis.tickvals if 14 <= v <= 27] == [20]
    assert "20" in fig.layout.xaxis.ticktext and [v for v in fig.layout.yaxis.tickvals if 3 <= v <= 40] == [5, 10, 20]


def test_a_wide_log_axis_keeps_its_decades():
    fig = charts.loglog({"items": ([1, 5000], [1, 200])}, "Interactions per item", "Number of items")
    assert fig.layout.xaxis.tickvals is None and fig.layout.xaxis.dtick == 1


def test_a_long_name_met_twice_is_not_shortened_to_its_number():
    first = "What the shop in Berlin has been using since spring"
    shown = looks({"a": first, "b": f"{first} (2)", "c": "Self-attention over the sequence (SASRec)"}, {"a": 0, "b": 1, "c": 2})
    assert shown["a"].name.startswith("What the shop") and shown["b"].name.startswith("What the shop")
    assert shown["a"].name != shown["b"].name and shown["c"].name == "SASRec"
