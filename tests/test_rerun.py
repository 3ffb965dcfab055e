"The experiments as their users run them: papermill and trm-rerun, from any folder, in the smoke profile."

import json
import time

import nbformat
import pandas as pd
import papermill
import pytest
from conftest import ROOT, rerun

from trm_nbdev.baselines import ROWS, benchmark_of
from trm_nbdev.engine.long_runs import same_curve
from trm_nbdev.engine.plan import data_of, race, rows_of, run_spec

EXPERIMENTS = sorted((ROOT / 'nbs' / '3_experiments').glob('*.ipynb'))


@pytest.fixture(scope='module')
def everything(tmp_path_factory):
    "All experiments in the smoke profile, run once, from a folder that is not the checkout."
    out, elsewhere = tmp_path_factory.mktemp('smoke'), tmp_path_factory.mktemp('elsewhere')
    done = rerun('--profile', 'smoke', '--out', out, '--jobs', 2, cwd=elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, elsewhere, done


def test_every_experiment_runs_and_is_counted(everything):
    out, _, done = everything
    assert 'all well' in done.stdout
    assert sorted(p.stem for p in (out / 'notebooks').iterdir()) == [p.stem for p in EXPERIMENTS]
    tables = {*(p.stem for p in EXPERIMENTS), *(f'table{k}' for k in range(1, 6)), 'hrm_analysis', 'claims'} - {
        'check_records',
        'results',
    }
    for name in tables:
        for ending in ('csv', 'md'):
            assert (out / f'{name}.{ending}').stat().st_size > 100
    assert (out / 'residuals.png').stat().st_size > 10_000


def test_each_run_is_trained_once_although_several_notebooks_need_it(everything):
    out = everything[0]
    ids = {
        run_spec('smoke', changes, data=data_of('smoke', benchmark_of(table))).id
        for table, rows in ROWS.items()
        for changes in rows.values()
    }
    ids.add(run_spec('smoke', rows_of('early_stop', 'smoke')['a quarter of the budget']).id)
    ids.add(run_spec('smoke', rows_of('long_run', 'smoke')['long run']).id)
    ids |= {run_spec('smoke', dict(compiled=compiled)).id for compiled in (True, False)}
    ids |= {spec.id for spec in race('smoke').values()}
    recorded = {p.stem for p in (out / 'runs').glob('*.json')}
    assert ids < recorded
    assert len(recorded) == len(ids) + 2  # the short run that checks the records, and your_idea's
    assert 'not run' not in ''.join(
        (out / f'{name}.csv').read_text() for name in ('table1', 'table2', 'table3', 'table4', 'table5', 'hrm_analysis')
    )
    claims = pd.read_csv(out / 'claims.csv')
    missing = claims.claim[claims.verdict == 'not run']
    assert {*missing} <= {'Averaged weights solve more than raw ones'}  # which needs curves of raw weights
    assert not list(out.rglob('*.tmp*'))


def test_a_second_time_nothing_is_trained_and_nothing_changes(everything):
    out, elsewhere, _ = everything
    before = {
        p: p.read_bytes()
        for p in out.rglob('*')
        if p.suffix in {'.json', '.ipynb', '.csv', '.md', '.png'} and p.stem != 'check_records'
    }
    # of each kind one
    some = 'arc_agi_2 check_records compiled_or_plain deep_supervision early_stop maze_hard results'.split()
    assert rerun('--profile', 'smoke', '--only', *some, '--out', out, '--jobs', 2, cwd=elsewhere).returncode == 0
    assert [p.name for p, was in before.items() if p.read_bytes() != was] == []
    check = nbformat.read(out / 'notebooks' / 'check_records.ipynb', as_version=4)
    assert 'identical' in str([c.outputs for c in check.cells if c.cell_type == 'code'])


def test_force_trains_again_and_once(everything):
    out, elsewhere, _ = everything
    base = out / 'runs' / f'{run_spec("smoke", {}).id}.json'
    before, now = json.loads(base.read_text()), time.time()
    words = ['--profile', 'smoke', '--out', out, '--only', 'ema', 'layers', '--jobs', 2, '--force']
    assert rerun(*words, cwd=elsewhere).returncode == 0
    after = json.loads(base.read_text())
    assert after['finished'] > now > before['finished']
    # same seed, same machine, another process: bit for bit
    assert after['results'] == before['results']
    assert same_curve(after['curve'], before['curve'])


def test_several_seeds_share_the_cores(tmp_path):
    words = '--profile smoke --only ema --seeds 0 1 --jobs 2 --out'.split()
    done = rerun(*words, tmp_path / 'out', cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(p.read_text()) for p in (tmp_path / 'out' / 'runs').glob('*.json')]
    assert sorted(r['seed'] for r in records) == [0, 1]
    alone = rerun(
        '--profile', 'smoke', '--only', 'ema', '--seeds', '1', '--jobs', '1', '--out', tmp_path / 'alone', cwd=tmp_path
    )
    assert alone.returncode == 0, alone.stdout + alone.stderr
    (one,) = (json.loads(p.read_text()) for p in (tmp_path / 'alone' / 'runs').glob('*.json'))
    assert one['results'] == next(r for r in records if r['seed'] == 1)['results']  # whatever runs beside it


def test_plain_papermill_works_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    papermill.execute_notebook(
        str(ROOT / 'nbs' / '3_experiments' / 'layers.ipynb'),
        'out.ipynb',
        {'profile': 'smoke', 'out': 'here', 'seeds': '0 1'},
        progress_bar=False,
        kernel_name='python3',
    )
    assert len(list((tmp_path / 'here' / 'runs').glob('*.json'))) == 4  # two rows, two seeds


def test_results_trains_nothing_and_reads_records_of_any_age(everything, tmp_path):
    out, elsewhere, _ = everything
    empty = rerun('--profile', 'smoke', '--only', 'results', '--out', tmp_path / 'empty', cwd=tmp_path)
    assert empty.returncode == 0, empty.stdout + empty.stderr
    assert not (tmp_path / 'empty' / 'runs').exists()
    assert set(pd.read_csv(tmp_path / 'empty' / 'claims.csv').verdict) == {'not run'}
    tables = {p: p.read_bytes() for p in [*out.glob('table*.csv'), out / 'claims.csv']}
    assert rerun('--profile', 'smoke', '--only', 'results', '--out', out, '--force', cwd=elsewhere).returncode == 0
    assert [p.name for p, was in tables.items() if p.read_bytes() != was] == []


def test_an_edited_idea_is_trained_again(tmp_path):
    (tmp_path / 'mine').mkdir()
    text = (ROOT / 'nbs' / '3_experiments' / 'your_idea.ipynb').read_text()
    assert 'size=3' in text
    for k, idea in enumerate([text, text.replace('size=3', 'size=1')]):
        (tmp_path / 'mine' / 'my_idea.ipynb').write_text(idea)
        done = rerun(
            '--profile', 'smoke', '--notebooks', tmp_path / 'mine', '--out', tmp_path / 'out', '--jobs', 2, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(list((tmp_path / 'out' / 'runs').glob('*-convolution-*.json'))) == k + 1
    # a copy has files of its own
    assert {p.stem for p in (tmp_path / 'out').glob('*.[cmp]*')} == {'my_idea', 'my_idea_bars', 'my_idea_curves'}
