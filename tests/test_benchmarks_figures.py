"""The page: it loads nothing, and the size of the training set stands in every plot."""

import json
import re
from pathlib import Path

from benchmark_task import a_result
from lightsleeper.benchmarks.figures import curves_over_steps, scores_over_rates, write_page
from lightsleeper.benchmarks.tables import summarise

RESULTS = [
    a_result([0.2, last], method=method, rate=rate, seed=seed)
    for method, last in (("sgd", 0.6), ("one_cycle", 0.8), ("schedule_free", 0.7))
    for rate in (0.1, 1.0)
    for seed in range(2)
]
ROWS = summarise({result.key: result for result in RESULTS})


def test_the_size_of_the_training_set_stands_in_every_plot():
    for plot in (scores_over_rates(ROWS), curves_over_steps(ROWS)):
        assert "400 training examples" in plot["layout"]["title"]["text"]
        assert [trace["name"] for trace in plot["data"]] == ["SGD, constant", "SGD, one-cycle", "Schedule-Free SGD"]


def test_plots_hold_the_measured_values():
    over_rates, over_steps = scores_over_rates(ROWS), curves_over_steps(ROWS)
    assert over_rates["data"][1]["x"] == [0.1, 1.0]
    assert over_rates["data"][1]["y"] == [0.8, 0.8]
    assert over_steps["data"][2]["x"] == [200, 400]
    assert over_steps["data"][2]["y"] == [0.2, 0.7]


def test_page_is_whole_and_loads_nothing(tmp_path: Path):
    page = write_page(tmp_path / "page.html", ROWS).read_text(encoding="utf-8")
    plots = [json.loads(text) for text in re.findall(r'class="figure"[^>]*>(.*?)</script>', page, flags=re.DOTALL)]
    assert len(plots) == 2
    assert "default-src 'none'" in page
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(?!data:,)", own)
    assert "0.800" in own
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
