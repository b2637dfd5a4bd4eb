import hashlib

from perennial_bundle.__main__ import main


def test_a_tar_is_written_and_its_digest_printed(saved, tmp_path, capsys):
    assert main(["pack", str(saved.path), str(tmp_path / "flights.tar")]) == 0
    got = capsys.readouterr().out.strip()
    assert got == saved.digest
    assert got == f"sha256:{hashlib.sha256((tmp_path / 'flights.tar').read_bytes()).hexdigest()}"


def test_the_digest_alone_is_printed_without_a_file(saved, capsys):
    assert main(["pack", str(saved.path)]) == 0
    assert capsys.readouterr().out.strip() == saved.digest


def test_a_file_that_is_there_is_left_alone(saved, tmp_path, capsys):
    target = tmp_path / "flights.tar"
    target.write_text("something else")
    assert main(["pack", str(saved.path), str(target)]) == 1
    assert "can't be written: File exists" in capsys.readouterr().err
    assert target.read_text() == "something else"
