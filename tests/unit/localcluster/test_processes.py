"""A pid is trusted only with its boot, its start time and its program."""

import os
import sys

import pytest
from perennial_localcluster import processes
from perennial_localcluster.processes import ProcessRecord, is_ours, parse_start_ticks, parse_state

STAT = "4711 (odd) name) S 1 4711 4711 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 9 0 558284 1278512 9725 18446744"


def build_record(**changes):
    fields = {
        "name": "etcd",
        "pid": 4711,
        "start_ticks": 558284,
        "boot_id": "b1",
        "command": ["/x/etcd", "-a"],
    }
    return ProcessRecord(**{**fields, **changes})


def test_stat_line_with_brackets_in_the_name_is_parsed():
    assert (parse_state(STAT), parse_start_ticks(STAT)) == ("S", 558284)


def test_the_process_we_started_is_ours():
    assert is_ours(build_record(), boot_id="b1", stat=STAT, command_line="/x/etcd -a")


@pytest.mark.parametrize(
    ("reason", "boot_id", "stat", "command_line"),
    [
        ("the machine was rebooted", "b2", STAT, "/x/etcd -a"),
        ("no process has the pid", "b1", None, ""),
        ("the pid was given to a later process", "b1", STAT.replace("558284", "600000"), "/x/etcd -a"),
        ("it is a zombie", "b1", STAT.replace(" S ", " Z "), ""),
        ("another program has the pid", "b1", STAT, "/usr/bin/vim notes"),
    ],
)
def test_a_pid_alone_proves_nothing(reason, boot_id, stat, command_line):
    assert not is_ours(build_record(), boot_id=boot_id, stat=stat, command_line=command_line), reason


def test_started_process_is_found_and_stopped(tmp_path):
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    record = processes.start("sleeper", command, pids=tmp_path, logs=tmp_path)
    assert processes.find("sleeper", pids=tmp_path) == record
    assert os.getsid(record.pid) == record.pid
    processes.stop([record])
    assert processes.find("sleeper", pids=tmp_path) is None


def test_half_written_record_counts_as_none(tmp_path):
    (tmp_path / "etcd.json").write_text('{"name": "et')
    assert processes.find("etcd", pids=tmp_path) is None
