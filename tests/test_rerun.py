"The experiments as their users run them: papermill and trm-rerun, from any folder, in the smoke profile."
import json
import time

import nbformat
import papermill
import pytest
from conftest import ROOT, rerun

from trm_nbdev.baselines import RIVALS, VARIANTS
from trm_nbdev.data import BUILT_IN
from trm_nbdev.runs import PROFILES, data_of, run_spec, variants
from trm_nbdev.tables import TABLE1

EXPERIMENTS = sorted((ROOT/'nbs'/'experiments').glob('*.ipynb'))


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
    assert sorted(p.stem for p in (out/'notebooks').iterdir()) == [p.stem for p in EXPERIMENTS]
    for name in ('table1', 'mlp_vs_attention', 'layers', 'fixed_point_vs_full_backprop', 'ema', 'sudoku_extreme', 'maze_hard', 'arc_agi_1', 'arc_agi_2', 'early_stop'):
        for ending in ('csv', 'md', 'png'): assert (out/f'{name}.{ending}').stat().st_size > 100
    assert (out/'residuals.png').stat().st_size > 10_000


def test_each_run_is_trained_once_although_several_notebooks_need_it(everything):
    out = everything[0]
    ids = {run_spec('smoke', changes).id for changes in variants(*(m for m in TABLE1.index if m != 'no EMA')).values()}
    ids |= {run_spec('smoke', VARIANTS[variant], data=data_of('smoke', benchmark)).id for benchmark in BUILT_IN for variant in RIVALS.values()}
    ids.add(run_spec('smoke', {'steps': 2*PROFILES['smoke'].how.steps}).id)   # early_stop's longer training
    recorded = {p.stem for p in (out/'runs').glob('*.json')}
    assert ids < recorded and len(recorded) == len(ids) + 1   # and the short run that checks the records
    assert not list(out.rglob('*.tmp*'))


def test_a_second_time_nothing_is_trained_and_nothing_changes(everything):
    out, elsewhere, _ = everything
    before = {p: p.read_bytes() for p in out.rglob('*') if p.suffix in {'.json', '.ipynb', '.csv', '.md', '.png'} and p.stem != 'check_records'}
    assert rerun('--profile', 'smoke', '--out', out, '--jobs', 2, cwd=elsewhere).returncode == 0
    assert [p.name for p, was in before.items() if p.read_bytes() != was] == []
    check = nbformat.read(out/'notebooks'/'check_records.ipynb', as_version=4)
    assert 'identical' in str([c.outputs for c in check.cells if c.cell_type == 'code'])


def test_force_trains_again_and_once(everything):
    out, elsewhere, _ = everything
    base = out/'runs'/f'{run_spec("smoke", {}).id}.json'
    before, now = json.loads(base.read_text()), time.time()
    assert rerun('--profile', 'smoke', '--out', out, '--only', 'ema', 'layers', '--jobs', 2, '--force', cwd=elsewhere).returncode == 0
    after = json.loads(base.read_text())
    assert after['finished'] > now > before['finished']
    assert after['results'] == before['results'] and after['curve'] == before['curve']   # same seed, same machine, another process: bit for bit


def test_several_seeds_share_the_cores(tmp_path):
    done = rerun('--profile', 'smoke', '--only', 'ema', '--seeds', '0', '1', '--jobs', '2', '--out', tmp_path/'out', cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(p.read_text()) for p in (tmp_path/'out'/'runs').glob('*.json')]
    assert sorted(r['seed'] for r in records) == [0, 1]
    alone = rerun('--profile', 'smoke', '--only', 'ema', '--seeds', '1', '--jobs', '1', '--out', tmp_path/'alone', cwd=tmp_path)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    one, = (json.loads(p.read_text()) for p in (tmp_path/'alone'/'runs').glob('*.json'))
    assert one['results'] == next(r for r in records if r['seed'] == 1)['results']   # whatever runs beside it


def test_plain_papermill_works_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    papermill.execute_notebook(str(ROOT/'nbs'/'experiments'/'layers.ipynb'), 'out.ipynb', {'profile': 'smoke', 'out': 'here', 'seeds': '0 1'},
                               progress_bar=False, kernel_name='python3')
    assert len(list((tmp_path/'here'/'runs').glob('*.json'))) == 4   # two rows, two seeds
