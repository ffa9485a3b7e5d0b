"""The package as a whole: imports stay light."""

import subprocess
import sys


def test_importing_batchscope_and_its_records_does_not_import_torch():
    code = "import sys, batchscope, batchscope.records.row, batchscope.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_first_use_of_a_public_name_leaves_the_random_state_alone():
    code = (
        "import random, sys, batchscope; before = random.getstate(); batchscope.observe, batchscope.measure; "
        "batchscope.report; sys.exit(random.getstate() != before)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_the_callbacks_import_a_trainer():
    code = (
        "import sys, batchscope; batchscope.observe, batchscope.schedule; "
        "sys.exit(any(name in sys.modules for name in ('lightning', 'transformers', 'batchscope.integrations')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
