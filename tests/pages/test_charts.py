"""Charts: what plotly alone would get wrong."""

from ui import charts


def test_a_narrow_log_axis_has_ticks():
    fig = charts.loglog({"items": ([14, 21, 27], [3, 40, 12])}, "Interactions per item", "Number of items")
    assert [v for v in fig.layout.xaxis.tickvals if 14 <= v <= 27] == [20]
    assert "20" in fig.layout.xaxis.ticktext and [v for v in fig.layout.yaxis.tickvals if 3 <= v <= 40] == [5, 10, 20]


def test_a_wide_log_axis_keeps_its_decades():
    fig = charts.loglog({"items": ([1, 5000], [1, 200])}, "Interactions per item", "Number of items")
    assert fig.layout.xaxis.tickvals is None and fig.layout.xaxis.dtick == 1
