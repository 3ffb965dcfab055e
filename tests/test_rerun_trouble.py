"trm-rerun with the real files, with wrong ones, and when something dies."

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from conftest import ENV, FORK, begin, ended, rerun

from trm_nbdev.engine.data import BUILT_IN
from trm_nbdev.engine.plan import run_spec
from trm_nbdev.engine.rerun import _submit, in_processes, main
from trm_nbdev.engine.runs import run
from trm_nbdev.engine.sudoku_maker import generate
from trm_nbdev.puzzles.sudoku import format_grid


@pytest.mark.parametrize(
    'words, message',
    [
        (['--profile', 'fast'], "profile is 'fast', expected one of smoke, quick, laptop, overnight, paper"),
        (['--only', 'lion'], 'no experiment is called lion'),
        (['--seeds', '0', '0'], 'expected different whole numbers'),
        (['--seeds', '-1'], 'expected'),
        (['--data', 'nowhere'], 'Maze-Hard, which maze_hard needs'),
        (['--data', 'nowhere', '--only', 'layers', 'ema'], 'Sudoku-Extreme, which ema, layers needs'),
        (['--data', 'nowhere', '--only', 'results'], 'nowhere is not a folder'),
        (['--jobs', '0'], 'jobs is 0'),
        (['--benchmark', 'Maze-Hard'], 'without --run'),
        (['--run', 'lion'], 'no row is called'),
        (['--run', 'HRM', '--benchmark', 'lion'], 'expected one of Sudoku-Extreme, Maze-Hard'),
        (['--run', 'HRM', '--only', 'ema'], 'one or the other'),
        (['--run', 'HRM', 'T=0'], "T is '0', expected a whole number from 1 to 10,000, such as T=3"),
        (['--run', 'HRM', '--seeds', 'x'], 'expected whole numbers'),
        (['--notebooks', '.'], 'no notebooks in'),
        (['--steps', '3'], 'unrecognized arguments: --steps'),
    ],
)
def test_wrong_words_are_refused_before_anything_runs(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    with suppress(SystemExit):  # argparse has called sys.exit
        assert main(words) == 2
    said, trouble = capsys.readouterr()
    assert message in trouble and not said
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_wrong_words_without_a_traceback(tmp_path):
    done = rerun('--profile', 'fast', cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith('trm-rerun: profile is') and 'Traceback' not in done.stderr


def sudoku_extreme(folder, n_train, n_test):
    "A small data set in the public layout, of generated puzzles."
    folder.mkdir()
    questions, answers = generate(n_train + n_test, box=(3, 3), clues=30, seed=5)
    rows = [
        f'made,{format_grid(q, (3, 3))},{format_grid(a, (3, 3))},0' for q, a in zip(questions, answers, strict=True)
    ]
    for name, part in [('train', rows[:n_train]), ('test', rows[n_train:])]:
        (folder / f'{name}.csv').write_text('\n'.join(['source,question,answer,rating', *part]) + '\n')
    return folder


def test_real_puzzles_from_a_folder(tmp_path):
    folder = sudoku_extreme(tmp_path / 'sudoku-extreme', 24, 12)
    words = '--profile smoke --only mlp_vs_attention results --data'.split()
    done = rerun(*words, folder, '--out', tmp_path / 'out', cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(p.read_text()) for p in (tmp_path / 'out' / 'runs').glob('*.json')]
    assert {r['data']['name'] for r in records} == {'sudoku-extreme'} and len(records[0]['data']['test.csv']) == 64
    for name in ('mlp_vs_attention', 'results'):
        assert str(tmp_path) not in (tmp_path / 'out' / 'notebooks' / f'{name}.ipynb').read_text().replace(
            str(tmp_path / 'out'), ''
        )
    table4 = pd.read_csv(tmp_path / 'out' / 'table4.csv', index_col=0).loc[
        'TRM-MLP (Ours)'
    ]  # there are no mazes in that folder
    assert table4['Sudoku-Extreme: averaged %'] != 'not run' == table4['Maze-Hard: averaged %']
    assert not any(str(tmp_path) in p.read_text() for p in (tmp_path / 'out' / 'runs').glob('*.json'))


def test_the_real_files_of_all_four_where_they_are_at_hand(tmp_path, root):
    data = root.parent / 'shared' / 'data'
    if not data.is_dir():
        pytest.skip('the real puzzles lie beside the checkout, in shared/data, and are not there')
    benchmarks = 'sudoku_extreme', 'maze_hard', 'arc_agi_1', 'arc_agi_2'
    words = ['--profile', 'smoke', '--only', *benchmarks, '--data', data, '--out', tmp_path / 'out', '--jobs', 2]
    done = rerun(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(p.read_text()) for p in (tmp_path / 'out' / 'runs').glob('*.json')]
    assert Counter(r['benchmark'] for r in records) == {b: 4 for b in BUILT_IN}
    assert {r['data']['name'] for r in records if 'ARC' not in r['benchmark']} == {'sudoku-extreme', 'maze-hard'}
    assert all(
        any(len(str(v)) == 64 for k, v in r['data'].items() if k.endswith(('.csv', '.json'))) for r in records
    )  # the files' SHA-256
    for name in benchmarks:
        for ending in ('.csv', '.md', '_bars.png', '_steps.png', '.gif'):
            assert (tmp_path / 'out' / f'{name}{ending}').stat().st_size > 100
    sent = json.loads((tmp_path / 'out' / 'arc_agi_1_submission.json').read_text())
    assert sent and all(test.keys() == {'attempt_1', 'attempt_2'} for tests in sent.values() for test in tests)


def test_a_bad_row_ends_the_run_with_its_place(tmp_path):
    folder = sudoku_extreme(tmp_path / 'sudoku-extreme', 24, 12)
    lines = (folder / 'train.csv').read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(',')[1], 'x' * 81)
    (folder / 'train.csv').write_text('\n'.join(lines) + '\n')
    done = rerun(
        '--profile', 'smoke', '--only', 'mlp_vs_attention', '--data', folder, '--out', tmp_path / 'out', cwd=tmp_path
    )
    assert done.returncode == 1 and 'FAILED' in done.stdout
    assert 'ValueError' in done.stdout and 'train.csv' in done.stdout and "'x'" in done.stdout
    assert list((tmp_path / 'out' / 'runs').glob('*.json')) == []


def train_once(out: Path):
    run(run_spec('smoke', {}), out)


def test_two_processes_train_a_run_once(tmp_path):
    both = [begin(train_once, tmp_path) for _ in range(2)]
    assert [ended(p) for p in both] == [0, 0]
    (log,) = tmp_path.glob('logs/*/metrics.jsonl')
    assert len(log.read_text().splitlines()) == 2  # its two evaluations, each once


def children(pid: int) -> list[int]:
    "The processes that trm-rerun has started for its tasks."
    servers = [child for child in psutil.Process(pid).children() if 'forkserver' in ' '.join(child.cmdline())]
    spawned = [child for child in psutil.Process(pid).children() if 'spawn_main' in ' '.join(child.cmdline())]
    return [child.pid for child in spawned + [child for server in servers for child in server.children()]]


def killed(tmp_path: Path, begun: str) -> tuple[dict[str, str], str]:
    "Run three notebooks in turn, and kill the process that has begun a file: notebook -> ok or FAILED, output."
    (tmp_path / 'tmp').mkdir()  # often so long a name that no server of workers can listen there
    words = '--profile smoke --only ema layers results --jobs 1 --out'.split()
    p = subprocess.Popen(
        [Path(sys.executable).parent / 'trm-rerun', *words, tmp_path / 'out'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV | {'TMPDIR': str(tmp_path / 'tmp')},
    )
    while not list(tmp_path.glob(begun)):
        assert p.poll() is None, p.communicate()
        time.sleep(0.02)
    (worker,) = children(p.pid)
    os.kill(worker, signal.SIGKILL)
    out, err = p.communicate()
    assert p.returncode == 1 and 'Traceback' not in err, err
    return {line.split()[-1]: line.split()[0] for line in out.splitlines() if line.startswith(('ok ', 'FAILED '))}, out


@pytest.mark.skipif(sys.platform == 'win32', reason='there are no signals')
@pytest.mark.parametrize('begun, lost', [('tmp/*/ema.ipynb', 'ema'), ('out/logs/*layers4*/metrics.jsonl', 'layers')])
def test_a_dead_process_costs_its_own_notebook_or_run_and_the_others_go_on(tmp_path, begun, lost):
    outcomes, out = killed(tmp_path, begun)
    assert outcomes == {'ema': 'ok', 'layers': 'ok', 'results': 'ok'} | {lost: 'FAILED'}
    assert 'its process died' in out


def test_ctrl_c_keeps_what_was_finished(tmp_path):
    words = '--profile smoke --only ema layers --jobs 1 --out'.split()
    # where the tests run in the background, they and their children may be told to ignore the signal
    heeding = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    p = subprocess.Popen(
        [Path(sys.executable).parent / 'trm-rerun', *words, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
        start_new_session=True,
        preexec_fn=heeding,
    )
    while p.poll() is None and not list((tmp_path / 'runs').glob('*.json')):
        time.sleep(0.02)
    os.killpg(p.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, err = p.communicate()
    assert p.returncode == 130 and 'interrupted: finished runs are recorded' in err and 'Traceback' not in err, err
    assert list((tmp_path / 'runs').glob('*.json'))


def test_a_place_that_cannot_be_written_is_an_error_before_anything_runs(tmp_path):
    (tmp_path / 'file').write_text('')
    done = rerun('--profile', 'smoke', '--out', tmp_path / 'file' / 'out', cwd=tmp_path)
    assert done.returncode == 2 and 'Not a directory' in done.stderr and 'Traceback' not in done.stderr


def test_a_loss_that_is_no_number_fails_the_notebook_with_the_step_and_the_gradient(tmp_path):
    code = """from trm_nbdev.engine.runs import run_rows
run_rows({'wild': dict(lr=1e38, warmup=0)}, profile, seeds, data, out)"""
    parameters = 'profile = "quick"\nseeds = None\ndata = None\nout = None'
    cells = [nbformat.v4.new_code_cell(source) for source in (parameters, code)]
    cells[0].metadata.tags = ['parameters']
    kernel = dict(name='python3', display_name='python3', language='python')
    (tmp_path / 'nbs').mkdir()
    nb = nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=kernel))
    nbformat.write(nb, tmp_path / 'nbs' / 'wild.ipynb')
    done = rerun('--profile', 'smoke', '--notebooks', tmp_path / 'nbs', '--out', tmp_path / 'out', cwd=tmp_path)
    assert done.returncode == 1
    assert 'FloatingPointError: at step 2 the loss is nan, and the largest gradient' in done.stdout, done.stdout
    assert list((tmp_path / 'out' / 'runs').glob('*.json')) == []


@pytest.mark.parametrize(('jobs', 'given', 'threads'), [(1, None, 8), (20, None, 4), (2, '3', 3)])
def test_tasks_share_the_cores(jobs, given, threads, tmp_path, monkeypatch):
    monkeypatch.setattr('trm_nbdev.engine.rerun.usable_cores', lambda: 8)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if given:
        monkeypatch.setenv('OMP_NUM_THREADS', given)
    done = in_processes({name: (os.getenv, 'OMP_NUM_THREADS') for name in 'ab'}, jobs, 'tasks', tmp_path)
    assert [future.result() for future in done.values()] == 2 * [str(threads)]


@pytest.mark.skipif(not FORK, reason='workers are forks of a server on Linux only, and in a folder with a short name')
def test_a_killed_server_of_workers_costs_nothing(tmp_path):
    first = in_processes({'a': (abs, -1)}, 1, 'tasks', tmp_path)
    assert first['a'].result() == 1
    servers = [child for child in psutil.Process().children() if 'forkserver' in ' '.join(child.cmdline())]
    assert servers
    for server in servers:
        server.kill()
    second = in_processes({name: (abs, -2) for name in 'bcd'}, 2, 'tasks', tmp_path)
    assert [future.result() for future in second.values()] == [2, 2, 2]


class Dying:
    "A pool whose server of workers is killed while it starts a process."

    def submit(self, *task):
        raise EOFError('unexpected EOF')


class Living:
    def submit(self, function, *args):
        return function(*args)


def test_a_server_that_dies_while_it_starts_a_worker_is_begun_again():
    pools = iter([Dying(), Living()])
    assert _submit((abs, -3), Dying(), lambda: next(pools))[0] == 3
    with pytest.raises(EOFError):
        _submit((abs, -3), Dying(), Dying)
