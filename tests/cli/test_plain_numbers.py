"""`import` and `report FILE.csv` as a user types them."""

import json
import subprocess
import sys

import pytest

RUNS = """net,B,steps,arrived
wide,32,1060,yes
wide,32,1020,yes
wide,128,340,yes
wide,128,352,yes
wide,512,160,yes
wide,512,171,yes
wide,2048,115,yes
wide,2048,118,yes
deep,32,2060,yes
deep,32,2120,yes
deep,128,1340,yes
deep,128,1352,yes
deep,512,1160,yes
deep,512,1171,yes
deep,2048,1500,no
deep,2048,1500,no
"""


def batchscope(*words, cwd):
    return subprocess.run([sys.executable, "-m", "batchscope", *words], cwd=cwd, capture_output=True, text=True)


@pytest.mark.system
def test_from_somebody_elses_csv_to_a_page_and_a_gate(tmp_path):
    (tmp_path / "theirs.csv").write_text(RUNS)
    columns = ("--column", "shape=net", "--column", "batch_size=B", "--column", "reached=arrived")
    done = batchscope("import", "theirs.csv", "runs.csv", *columns, "--num-examples", "60000", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "16 runs in runs.csv" in done.stdout
    gate = ("--require", "b_threshold(wide, b_crit) >= 200 and probability(wide, deep) > 0.95")
    done = batchscope("report", "runs.csv", "--html", "page.html", *gate, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "wide: 296 [250, 352] (b_crit, 95 %, n = 8)" in done.stdout
    assert "no column num_weights" in done.stdout
    page = (tmp_path / "page.html").read_text()
    assert "no column num_weights" in page
    assert "n = 60 000 examples" in page
    done = batchscope("report", "runs.csv", "--json", "--require", "b_crit(wide) >= 2000", cwd=tmp_path)
    record = json.loads(done.stdout)
    assert (done.returncode, record["holds"]) == (1, False)
    assert record["studies"]["runs"]["fits"]["wide"]["b_crit"] == pytest.approx(296, abs=1)


@pytest.mark.system
def test_bad_input_is_one_message_and_status_2(tmp_path):
    (tmp_path / "theirs.csv").write_text(RUNS)
    for words, message in [
        (("report", "theirs.csv"), "no column 'batch_size'"),
        (("report", "nowhere.csv"), "cannot be read"),
        (("report", "theirs.csv", "--study", "x"), "no column 'batch_size'"),
        (("import", "theirs.csv", "o.csv"), "no column 'batch_size'"),
        (("import", "theirs.csv", "o.csv", "--column", "batch_size=BB"), "no column 'BB'"),
        (("import", "theirs.csv", "theirs.csv/o", "--column", "batch_size=B"), "cannot be written"),
    ]:
        done = batchscope(*words, cwd=tmp_path)
        assert done.returncode == 2, done
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1
