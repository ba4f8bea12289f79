"""How figures are written, and bars and points in lanes."""

from ckf_demo.ui import charts


def test_changes_have_a_sign_unless_they_round_to_zero():
    changes = {0.004: "0.00", -0.004: "0.00", 0.126: "+0.13", -1.5: "−1.50"}
    assert {value: charts.signed(value) for value in changes} == changes
    assert charts.percentage_points(0.0123) == "+1.2 pts"
    assert charts.percentage_points(-0.2) == "−20.0 pts"


def test_estimates_have_their_interval_where_there_is_one():
    assert charts.estimate(0.5, None, 0.7) == "0.50"
    assert charts.estimate(0.5, 0.4, 0.7) == "0.50 (0.40–0.70)"
    assert charts.estimate(0.5, 0.4, 0.7, charts.percent) == "50 % (40–70 %)"


def test_bars_start_at_their_base_and_stay_within_the_ends():
    entries = [charts.Bar("up", 5.0, "5"), charts.Bar("down", -2.0, "−2")]
    shown = charts.bars(entries, charts.Axis(-2, 2), 0.0, "about")
    assert "left:50.00%;width:50.00%" in shown and "left:0.00%;width:50.00%" in shown
    assert shown.count("ckf-more") == shown.count("ckf-less") == 1


def test_changes_reach_as_far_to_both_sides_as_the_greatest():
    shown = charts.change_bars([("<b>", 0.5), ("other", -1.0)], charts.signed, "about")
    assert "−1.00</span>" in shown and "+1.00</span>" in shown and ">0</span>" in shown
    assert "<b>" not in shown and "left:50.00%;width:25.00%" in shown


def test_points_have_a_legend_where_there_are_several():
    marks = [(charts.DISC, "<b>"), (charts.SQUARE, "User 2")]
    lanes = [("CKF", [2.0, None])]
    shown = charts.points(lanes, marks, charts.STARS, charts.number)
    assert shown.count("ckf-point") == 1 and "left:25.00%" in shown
    assert shown.count("<li>") == 2 and "<b>" not in shown
    alone = charts.points([("CKF", [2.0])], marks[:1], charts.STARS, charts.number)
    assert "<li>" not in alone


def test_names_in_plots_are_escaped_and_missing_intervals_are_null():
    drawn = charts.dot("<b>", "own", 0.5, None, None, "0.5\nn = 3")
    assert drawn["label"] == "&lt;b&gt;" and drawn["hover"] == "<b>&lt;b&gt;</b><br>0.5<br>n = 3"
    plot = charts.dot_plot([drawn], "AUC", "Best.")
    assert "&quot;low&quot;: null" in plot and "<b>" not in plot
