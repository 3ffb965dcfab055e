"The command trm-bench, at the size at which its numbers mean nothing."

import json
import subprocess
import sys
from pathlib import Path

from conftest import ENV

BENCH = Path(sys.executable).parent / 'trm-bench'

KEYS = {
    'train_paper_samples_per_s',
    'train_paper_peak_share',
    'train_quick_samples_per_s',
    'train_quick_speedup_vs_eager',
    'solve_puzzles_per_s',
    'solve_early_stop_speedup',
    'peak_memory_mb',
}


def test_bench(tmp_path):
    "All numbers, flat, on a machine without a compiler; a table and a picture beside them."
    done = subprocess.run(
        [BENCH, '--size', 'smoke', '--seconds', '.01', '--out', tmp_path],
        env=ENV | {'CXX': 'no-such-compiler'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob('*.json')
    numbers = json.loads(path.read_text())
    assert KEYS <= numbers.keys() and numbers['size'] == 'smoke'
    assert all(numbers[k] > 0 for k in KEYS)
    assert not [k for k, v in numbers.items() if isinstance(v, dict | list)]
    assert 'mean nothing' in path.with_suffix('.md').read_text() and path.with_suffix('.png').stat().st_size > 1000
    assert 'running without torch.compile' in done.stdout + done.stderr


def test_wrong_arguments():
    for arguments in (['--seconds', '0'], ['--size', 'huge']):
        assert subprocess.run([BENCH, *arguments], env=ENV, capture_output=True).returncode == 2
