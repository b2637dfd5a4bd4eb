"""The parts of the serving benchmark on which its figures rest."""

import xml.dom.minidom

import numpy as np
import pytest

from benchmarks.serving.client import AnswerReader, BadAnswer, Tally, build_request
from benchmarks.serving.measuring import Round, summarise
from benchmarks.serving.peers import ALL
from benchmarks.serving.report import TARGETS, render_chart, render_table, render_targets
from benchmarks.serving.subject import read_v2, v2_body

ANSWER = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"


def figure(per_second, **changes):
    values = {
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "cpu_us": 100.0,
        "memory_mib": 100.0,
        "client_busy_share": 0.2,
        "bad": 0,
    }
    return summarise([Round(per_second=per_second, **(values | changes))])


@pytest.mark.parametrize("size", [1, 7, len(ANSWER) - 1, len(ANSWER)])
def test_an_answer_is_read_however_it_is_cut(size):
    reader = AnswerReader()
    pieces = [ANSWER[i : i + size] for i in range(0, len(ANSWER), size)]
    got = [reader.feed(piece) for piece in pieces]
    assert got[:-1] == [None] * (len(pieces) - 1)
    assert got[-1] == (200, b"hello", False)


def test_an_answer_after_which_the_server_closes_is_told():
    got = AnswerReader().feed(b"HTTP/1.1 429 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    assert got == (429, b"", True)


def test_an_answer_of_unknown_length_is_refused():
    with pytest.raises(BadAnswer):
        AnswerReader().feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


def test_a_request_says_how_long_it_is():
    head, body = build_request("/x", b"12345").split(b"\r\n\r\n")
    assert b"Content-Length: 5" in head
    assert body == b"12345"


def test_only_good_answers_are_counted_as_throughput():
    tally = Tally(seconds=2.0, latencies_s=[0.001, 0.002, 0.003], statuses={200: 3, 429: 97})
    assert (tally.per_second, tally.latency_ms(0.5)) == (1.5, 2.0)


def test_the_median_round_counts_and_bad_answers_add_up():
    rates = (100.0, 900.0, 300.0)
    got = summarise([Round(rate, 1.0, 2.0, 50.0, 10.0, 0.1, 1) for rate in rates])
    assert (got.per_second, got.lowest, got.highest, got.bad) == (300.0, 100.0, 900.0, 3)


def test_a_target_compares_throughput_and_cpu_time():
    figures = {("ours", 1): figure(1000), ("mlserver", 1): figure(400, cpu_us=300.0)}
    target = next(target for target in TARGETS if target.theirs == "mlserver" and target.n_rows == 1)
    assert target.assess(figures) == (2.5, 3.0)
    assert any("**missed**" in line for line in render_targets(figures))


def test_a_target_without_its_peer_is_left_out():
    assert len(render_targets({("ours", 1): figure(1000)})) == 2


def test_bad_answers_are_in_the_table():
    lines = render_table(ALL, {("ours", 1): figure(1000, bad=7)}, 1)
    assert "1,000 (7 not 200)" in lines[-1]


def test_the_chart_has_a_bar_for_each_server_and_size():
    figures = {(peer.name, n): figure(1000.0 * (i + 1)) for i, peer in enumerate(ALL) for n in (1, 64)}
    document = xml.dom.minidom.parseString(render_chart(ALL, figures, (1, 64)))
    bars = [rect for rect in document.getElementsByTagName("rect") if rect.getAttribute("class")]
    assert len(bars) == 2 * len(ALL)


def test_answers_with_both_classes_give_the_second_ones_probability():
    answer = b'{"outputs": [{"name": "predict", "data": [1, 0]}, {"name": "predict_proba", "data": [0.2, 0.8, 0.9, 0.1]}]}'
    assert read_v2(answer) == ([1, 0], [0.8, 0.1])


def test_a_request_holds_all_features_in_one_tensor():
    body = v2_body(np.array([[1.5, 2.0], [3.0, 4.0]]))
    assert b'"shape": [2, 2], "data": [1.5, 2.0, 3.0, 4.0]' in body
