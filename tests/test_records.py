"Records, models and logs that are damaged, of another run, or cannot be written; and what trm-rerun says of them."

import json
import os
import shutil
import warnings
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from trm_nbdev.engine import long_runs, rerun, runs
from trm_nbdev.engine.files import digest, read_sealed, sealed
from trm_nbdev.engine.long_runs import from_checkpoint, same_curve
from trm_nbdev.engine.plan import run_spec
from trm_nbdev.engine.rerun import main, status
from trm_nbdev.engine.runs import (
    keep,
    machine,
    metrics_path,
    model_path,
    read_record,
    record_path,
    recorded_rows,
    run,
    run_model,
    verify,
    whole_record,
    whole_records,
)
from trm_nbdev.engine.tables import all_records
from trm_nbdev.engine.weights import WEIGHTS, load_model, save_model
from trm_nbdev.model import TRM

PLAIN = dict(compiled=False)
SPEC, OTHER = run_spec('smoke', PLAIN), run_spec('smoke', PLAIN, seed=1)
COMMITTED = sorted([*(ROOT / 'results').glob('*/runs/*.json'), *(ROOT / 'trm_nbdev').glob('weights/*/record.json')])


@pytest.fixture(scope='module')
def once(tmp_path_factory) -> Path:
    "Results with two runs. No test writes to it."
    out = tmp_path_factory.mktemp('once')
    for spec in (SPEC, OTHER):
        run(spec, out)
    return out


@pytest.fixture
def out(once, tmp_path) -> Path:
    return Path(shutil.copytree(once, tmp_path / 'out'))


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def reseal(path: Path, **values: object) -> None:
    "Other values in a record, with a right hash."
    path.write_text(sealed(read_sealed(path) | values))


# ---- records


@pytest.mark.parametrize('path', COMMITTED, ids=lambda p: p.stem)
def test_committed_records_are_whole(path):
    assert whole_record(path)['protocol']


def test_committed_trials_are_whole():
    trials = sorted((ROOT / 'results' / 'calibration').glob('*.json'))
    assert trials and all(read_sealed(path)['curve'] for path in trials)


@pytest.mark.parametrize(
    'damage, why',
    [
        (lambda p: changed(p, '"puzzles":8', '"puzzles":9'), 'its content does not match its hash'),
        (
            lambda p: p.write_bytes(p.read_bytes().replace(b'sudoku', b'sud\xffku', 1)),
            'expected JSON, got UnicodeDecod',
        ),
        (lambda p: p.write_bytes(p.read_bytes()[:-20]), 'expected JSON'),
        (lambda p: p.write_text(''), 'expected JSON'),
        (lambda p: p.write_text('[]'), 'expected a JSON object'),
        (lambda p: p.write_text('[' * 100_000), 'expected JSON, got RecursionError'),
        (lambda p: p.write_text(json.dumps(read_sealed(p))), 'expected a JSON object with the hash of its content'),
        (lambda p: reseal(p, results={}), 'it lacks results'),
        (lambda p: reseal(p, results=[]), 'it lacks results'),
        (lambda p: reseal(p, results={'ema': {}, 'raw': {}}), 'it lacks cells, cells_by_step, exact'),
        (lambda p: p.write_text(sealed({'results': {'ema': {}, 'raw': {}}})), 'it lacks .*benchmark, .*curve'),
        (lambda p: shutil.copy(p.with_name(f'{OTHER.id}.json'), p), f'is the record of another run, {OTHER.id}'),
        (lambda p: p.unlink() or p.mkdir(), 'Is a directory'),
    ],
)
def test_a_damaged_record_is_named_and_does_not_count(damage, why, out):
    path = record_path(SPEC, out)
    damage(path)
    with pytest.warns(UserWarning, match=f'{why}.*; it does not count') as warned:
        assert read_record(SPEC, out) is None
    assert str(path) in str(warned[0].message)
    with warnings.catch_warnings(action='ignore'):
        assert recorded_rows({'TRM': PLAIN}, 'smoke', [0, 1], out=out) == {'TRM': [read_record(OTHER, out)]}
    if 'another run' not in why:
        with pytest.warns(UserWarning, match=f'{path}'):
            assert [r['seed'] for r in whole_records(out)] == [1] == [r['seed'] for r in all_records(out)]
    (told,) = (told for name, state, told in verify(out) if state == 'damaged' and name == f'runs/{path.name}')
    assert str(path) in told


@pytest.mark.filterwarnings('ignore:.*it does not count')
def test_a_damaged_record_is_trained_again(out, capsys):
    path, good = record_path(SPEC, out), read_record(SPEC, out)
    changed(path, '"puzzles":8', '"puzzles":9')
    again = run(SPEC, out)
    assert f'{path.name} is damaged or out of date: training it again' in capsys.readouterr().out
    assert again == read_record(SPEC, out) and same_curve(again['curve'], good['curve'])
    assert all(again[k] == good[k] for k in ('results', 'weights_sha256'))


def test_two_good_records_are_no_reason_to_warn(out, recwarn):
    assert len(recorded_rows({'TRM': PLAIN}, 'smoke', [0, 1], out=out)['TRM']) == 2 and not recwarn.list


# ---- models


def cut_off(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])


def of_another_seed(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name(OTHER.id), folder)


def of_another_kind(folder: Path) -> None:
    torch.manual_seed(0)
    save_model(TRM(run_spec('smoke', dict(layers=1)).model), folder)


@pytest.mark.parametrize(
    'damage, why',
    [
        (shutil.rmtree, 'is missing'),
        (cut_off, f'holds no model .* {WEIGHTS} does not match its hash'),
        (lambda f: (f / WEIGHTS).unlink(), f'holds no {WEIGHTS}'),
        (of_another_kind, 'holds a different model from that of its record'),
        (of_another_seed, 'has different weights from those of its record'),
    ],
)
def test_a_damaged_model_is_named_and_trained_again(damage, why, out, capsys):
    record, folder = read_record(SPEC, out), model_path(SPEC, out)
    damage(folder)
    states = {name: state for name, state, _ in verify(out)}
    assert states.get(f'models/{SPEC.id}') == ('damaged' if folder.exists() else None)
    run_model(SPEC, out)
    printed = capsys.readouterr().out
    assert f'{folder} ' in printed and 'training it again' in printed
    assert digest(folder / WEIGHTS) == record['weights_sha256']
    run_model(SPEC, out)
    assert 'again' not in capsys.readouterr().out


def test_on_another_machine_the_weights_may_differ(out, monkeypatch):
    of_another_seed(model_path(SPEC, out))
    monkeypatch.setattr(runs, 'machine', lambda: machine() | {'processor': 'another'})
    with pytest.warns(UserWarning, match='its weights are not those of its record, which was made on another kind'):
        kept = run_model(SPEC, out)
    assert torch.equal(kept.q_head.weight, load_model(model_path(OTHER, out)).q_head.weight)
    assert {state for _, state, _ in verify(out)} == {'whole'}


def test_a_record_that_names_no_weights_takes_what_is_whole(out, recwarn):
    reseal(record_path(SPEC, out), weights_sha256=None)
    of_another_seed(model_path(SPEC, out))
    assert run_model(SPEC, out) and not recwarn.list


# ---- a disk without room, at the end


def full(*args, **kwargs):
    raise OSError(28, 'No space left on device')


@pytest.mark.parametrize('what', ['save_model', 'sealed'])
@pytest.mark.parametrize('keeps', [True, False])
def test_of_a_training_that_cannot_be_written_the_last_checkpoint_is_kept(what, keeps, tmp_path, monkeypatch, capsys):
    spec = run_spec('smoke', PLAIN | dict(steps=30, evaluations=3))
    words = ['--profile', 'smoke', '--out', str(tmp_path), '--run', 'TRM (T=3, n=6)', 'compiled=false']
    words += ['steps=30', 'evaluations=3']
    path = model_path(spec, tmp_path) if what == 'save_model' else record_path(spec, tmp_path)
    with monkeypatch.context() as m:
        m.setattr(runs, what, full)
        if keeps:
            m.setattr(runs, 'train_resumable', partial(runs.train_resumable, every=0))
        assert main(words) == 1
    printed = capsys.readouterr()
    assert f'{spec.id}: training is finished, but {path} cannot be written: ' in printed.err
    assert 'No space left on device' in printed.err and 'Traceback' not in printed.err
    assert not list(tmp_path.rglob('*.tmp*'))
    folder = tmp_path / 'checkpoints' / spec.id
    if not keeps:
        assert 'Once that is fixed, the same command begins anew\n' in printed.err and not folder.exists()
        return
    step = runs.kept_steps(folder)[0]
    assert f'the same command goes on from its checkpoint of step {step}, kept in {folder}\n' in printed.err
    resumed = []
    monkeypatch.setattr(long_runs, 'from_checkpoint', lambda t, *a: resumed.append(a[0]) or from_checkpoint(t, *a))
    assert main(words) == 0 and not folder.exists() and resumed == [step]
    assert same_curve(run(spec, tmp_path)['curve'], run(spec, tmp_path / 'undisturbed')['curve'])


def test_with_force_the_message_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv('TRM_RETRAIN_BEFORE', '123')
    monkeypatch.setattr(runs, 'save_model', full)
    with pytest.raises(OSError, match=r'begins anew \(with TRM_RETRAIN_BEFORE=123 in place of --force\)$'):
        run(SPEC, tmp_path)


@pytest.mark.parametrize('size', [80, 92, 100])
def test_a_run_on_a_small_disk(size, small_disk, capsys):
    place = small_disk(size)
    words = ['--profile', 'smoke', '--run', 'TRM (T=3, n=6)', 'compiled=false', '--out', str(place / 'out')]
    assert main(words) == 1
    printed = capsys.readouterr().err
    assert 'training is finished, but' in printed and 'No space left on device' in printed
    assert not list(place.rglob('*.json')) and not list(place.rglob('*.tmp*'))


def test_a_run_on_a_disk_without_any_room_is_refused(small_disk, capsys):
    assert main(['--profile', 'smoke', '--run', 'HRM', '--out', str(small_disk(8) / 'out')]) == 2
    assert 'expected a folder that can be written to: No space left on device' in capsys.readouterr().err


def test_the_notebooks_of_such_a_run_are_reported_as_failed(tmp_path, monkeypatch):
    def here(tasks: dict[str, tuple], *_) -> dict[str, Future]:
        "The tasks in this process, where the disk is full."
        futures = {name: Future() for name in tasks}
        for name, (function, *args) in tasks.items():
            try:
                futures[name].set_result(function(*args))
            except Exception as e:
                futures[name].set_exception(e)
        return futures

    monkeypatch.setattr(rerun, 'in_processes', here)
    monkeypatch.setattr(runs, 'save_model', full)
    p = rerun.plan(rerun.parser().parse_args(['--profile', 'smoke', '--only', 'ema', '--out', str(tmp_path)]))
    (outcome,) = rerun.execute_all(p).values()
    assert 'was not trained: OSError: ' in outcome.error and 'training is finished, but' in outcome.error


# ---- logs

DAMAGE = [
    b'{}',
    b'\xff',
    b'[]',
    b'5',
    b'"x"',
    b'null',
    b'{"step": "x"}',
    b'{"step": NaN}',
    b'[' * 100_000,
    b'',
    b'{"step"',
]


@pytest.mark.parametrize('line', DAMAGE, ids=lambda line: str(line[:15]))
def test_a_damaged_line_is_dropped_from_a_log(line, tmp_path):
    path = tmp_path / 'a-run' / 'metrics.jsonl'
    path.parent.mkdir()
    path.write_bytes(b'{"step": 1}\n' + line + b'\n')
    status(tmp_path, 0)
    runs._metrics_writer(path)({'step': 2})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_damaged_log_does_not_stop_a_training(tmp_path, recwarn):
    path = metrics_path(SPEC, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b'\n'.join(DAMAGE))
    assert run(SPEC, tmp_path)['results'] and not recwarn.list
    assert [json.loads(line)['step'] for line in path.read_text().splitlines()] == [1, 3]


@pytest.mark.filterwarnings('ignore:step 3 of')
@pytest.mark.parametrize('in_the_way', ['logs', f'logs/{SPEC.id}'])
def test_a_file_in_the_way_of_the_logs_does_not_stop_a_training(in_the_way, tmp_path):
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text('')
    with pytest.warns(UserWarning, match=f'step 1 of {SPEC.id} is not reported'):
        assert run(SPEC, tmp_path)['results']


def test_a_line_that_was_cut_off_is_dropped_with_the_next(tmp_path):
    write, path = runs._metrics_writer(tmp_path / 'metrics.jsonl'), tmp_path / 'metrics.jsonl'
    write(dict(step=20))
    with pytest.raises(TypeError):
        write(dict(step=40, loss=object()))
    with path.open('a') as f:
        f.write('{"step": 4')
    write(dict(step=60))
    assert path.read_text() == '{"step": 20}\n{"step": 60}\n'


# ---- trm-rerun --verify


def states(out: Path, capsys: pytest.CaptureFixture) -> tuple[int, list[str]]:
    "Exit code and lines of trm-rerun --verify."
    before = {p: p.read_bytes() for p in out.rglob('*') if p.is_file()}
    code = main(['--verify', '--profile', 'smoke', '--out', str(out)])
    assert before == {p: p.read_bytes() for p in out.rglob('*') if p.is_file()}
    return code, capsys.readouterr().out.splitlines()


def test_verify_names_what_is_damaged(out, capsys):
    code, lines = states(out, capsys)
    assert code == 0 and lines[-1] == f'{out}: 4 whole, 0 stale, 0 damaged, 0 no record'
    record_path(OTHER, out).unlink()
    code, lines = states(out, capsys)
    assert code == 0 and lines[-1] == f'{out}: 2 whole, 0 stale, 0 damaged, 1 no record'
    changed(record_path(SPEC, out), '"puzzles":8', '"puzzles":9')
    cut_off(model_path(OTHER, out))
    code, lines = states(out, capsys)
    assert code == 1 and lines[-1] == f'{out}: 0 whole, 0 stale, 2 damaged, 1 no record'
    assert f'damaged    runs/{SPEC.id}.json: {record_path(SPEC, out)} is damaged: its content' in '\n'.join(lines)


@pytest.mark.parametrize(
    'values, why',
    [
        (dict(protocol=1), "under protocol 1, but today's is"),
        (dict(how={k: v for k, v in asdict(SPEC.train_config).items() if k != 'lr'}), 'only one has lr'),
        (dict(model=asdict(SPEC.model) | {'colour': 'red'}), 'only one has colour'),
    ],
)
def test_verify_tells_stale_records(values, why, out, capsys):
    reseal(record_path(SPEC, out), **values)
    shutil.rmtree(model_path(SPEC, out))
    code, lines = states(out, capsys)
    assert code == 0 and lines[-1] == f'{out}: 2 whole, 1 stale, 0 damaged, 0 no record'
    assert why in next(line for line in lines if line.startswith('stale '))


def test_verify_knows_when_the_puzzles_are_made_differently(out, capsys):
    path = record_path(SPEC, out)
    record = read_sealed(path)
    record['data']['clues'] = record['data'].pop('clues')
    record['data']['generator'] = 'an older one'
    path.write_text(sealed(record | {'key': runs._key_of(record)}))
    _, lines = states(out, capsys)
    assert 'its puzzles are made differently today: generator' in '\n'.join(lines)


def test_a_sealed_record_whose_content_is_not_that_of_its_key_is_damaged(out, capsys):
    path = record_path(SPEC, out)
    reseal(path, how=read_sealed(path)['how'] | {'lr': 0.5})
    code, lines = states(out, capsys)
    assert code == 1 and 'its name, its key and its content do not match' in '\n'.join(lines)


@pytest.mark.parametrize(
    'words, message',
    [
        (['--force'], '--verify trains nothing: expected it without --force'),
        (['--run', 'HRM'], 'expected it without --run'),
        (['--profile', 'fast'], "profile is 'fast'"),
        ([], 'holds no records or models'),
    ],
)
def test_verify_refuses_what_makes_no_sense(words, message, tmp_path, capsys):
    assert main(['--verify', '--profile', 'smoke', '--out', str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def trainings(monkeypatch) -> list[str]:
    "The runs trained from here on."
    done, train = [], runs.train_resumable
    monkeypatch.setattr(runs, 'train_resumable', lambda *args, **more: done.append(args[3]) or train(*args, **more))
    return done


def test_a_record_of_other_weights_is_replaced_and_then_all_is_well(out, monkeypatch, capsys):
    path = record_path(SPEC, out)
    path.write_text(sealed(read_sealed(path) | {'weights_sha256': '0' * 64}))
    trained = trainings(monkeypatch)
    for _ in range(2):
        run_model(SPEC, out)
    assert trained == [SPEC.seed] and 'has the results of other weights: it is written anew' in capsys.readouterr().out
    assert read_sealed(path)['weights_sha256'] == digest(model_path(SPEC, out) / WEIGHTS)


def test_a_lost_model_is_trained_with_checkpoints(out, monkeypatch):
    shutil.rmtree(model_path(SPEC, out))
    before, seen = record_path(SPEC, out).read_bytes(), []
    train = runs.train_resumable
    monkeypatch.setattr(
        runs, 'train_resumable', lambda *args, **more: seen.append(more['checkpoints']) or train(*args, **more)
    )
    run_model(SPEC, out)
    assert seen == [out / 'checkpoints' / SPEC.id] and not seen[0].exists()
    assert record_path(SPEC, out).read_bytes() == before


@pytest.mark.parametrize('in_the_way', [Path.mkdir, Path.touch, lambda path: path.symlink_to('nowhere')])
def test_whatever_is_in_the_place_of_a_record_or_a_model_is_replaced(in_the_way, tmp_path):
    for path in (record_path(SPEC, tmp_path), model_path(SPEC, tmp_path)):
        path.parent.mkdir(parents=True)
        in_the_way(path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # a folder is no record
        run(SPEC, tmp_path)
    assert whole_record(record_path(SPEC, tmp_path)) and load_model(model_path(SPEC, tmp_path))


def test_what_a_kill_left_half_written_is_removed(out):
    shutil.rmtree(model_path(SPEC, out))
    record_path(SPEC, out).unlink()
    half = [
        record_path(SPEC, out).parent / f'.{SPEC.id}.12345678.tmp.json',
        out / 'models' / f'.{SPEC.id}.12345678.tmp',
    ]
    half[0].touch()
    half[1].mkdir()
    run(SPEC, out)
    assert not any(path.exists() for path in half)


def test_a_training_whose_last_step_diverges_is_no_result(tmp_path, capsys):
    words = ['--run', 'TRM (T=3, n=6)', 'lr=1e30', 'steps=1', 'warmup=0', 'compiled=false', '--profile', 'smoke']
    assert main([*words, '--out', str(tmp_path)]) == 1
    assert 'the last step spoilt the weights' in capsys.readouterr().err
    assert not list(tmp_path.glob('runs/*.json'))


def test_a_model_is_replaced_whole_or_not_at_all(out, monkeypatch):
    folder, write = model_path(SPEC, out), Path.write_bytes

    def full_after_half(path: Path, data: bytes):
        write(path, data[: len(data) // 2])
        raise OSError(28, 'No space left on device')

    before = {p: p.read_bytes() for p in folder.iterdir()}
    monkeypatch.setattr(Path, 'write_bytes', full_after_half)
    with pytest.raises(OSError, match='No space'):
        save_model(TRM(SPEC.model), folder)
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize('value', ['abc', 'nan', 'inf', '-1'])
def test_an_odd_time_to_retrain_from_is_refused_by_name(value, out, monkeypatch):
    monkeypatch.setenv('TRM_RETRAIN_BEFORE', value)
    with pytest.raises(ValueError, match='the environment variable TRM_RETRAIN_BEFORE is'):
        read_record(SPEC, out)


@pytest.mark.parametrize(
    'part', [dict(model=[]), dict(how=3), dict(finished='x'), dict(benchmark='Nope'), dict(id='y')]
)
def test_a_sealed_record_of_an_odd_form_is_named_and_the_others_are_read(part, out):
    path = record_path(SPEC, out)
    path.write_text(sealed(read_sealed(path) | part))
    states = {name: state for name, state, _ in verify(out)}
    assert states.pop(f'runs/{path.name}') == 'damaged' and states.pop(f'runs/{OTHER.id}.json') == 'whole'


# ---- results that are not trainings


@pytest.mark.parametrize(
    'text', ['', '[]', '{"key":1', sealed({}), sealed({'key': 'x'}), sealed({'key': None, 'a': 1})]
)
def test_a_damaged_result_is_named_computed_again_and_then_whole(text, tmp_path):
    compute = partial(keep, 'sums', {'n': 2}, lambda: {'sum': 3}, tmp_path)
    assert compute()['found'] == {'sum': 3}
    (path,) = (tmp_path / 'found').iterdir()
    assert verify(tmp_path) == [(f'found/{path.name}', 'whole', '')]
    path.write_text(text)
    assert [state for _, state, _ in verify(tmp_path)] == ['damaged']
    with pytest.warns(UserWarning, match='does not count'):
        assert compute()['found'] == {'sum': 3}
    assert [state for _, state, _ in verify(tmp_path)] == ['whole']


def test_another_name_or_other_settings_are_another_result(tmp_path):
    kept = [
        keep(name, what, lambda k=k: k, tmp_path)['found']
        for k, (name, what) in enumerate([('a', {'x': 1, 'y': 2}), ('a', {'x': 2, 'y': 1}), ('b', {'x': 1, 'y': 2})])
    ]
    assert kept == [0, 1, 2]
    assert keep('a', {'y': 2, 'x': 1}, lambda: pytest.fail('it is there'), tmp_path)['found'] == 0


def test_a_result_of_another_protocol_is_stale_and_computed_again(tmp_path, monkeypatch):
    with monkeypatch.context() as m:
        m.setattr(runs, 'PROTOCOL', runs.PROTOCOL - 1)
        keep('a', {}, lambda: 1, tmp_path)
    assert [state for _, state, _ in verify(tmp_path)] == ['stale']
    assert keep('a', {}, lambda: 2, tmp_path)['found'] == 2
    assert sorted(state for _, state, _ in verify(tmp_path)) == ['stale', 'whole']
    reseal(next((tmp_path / 'found').glob('*.json')), what={'other': 'settings'})
    assert 'stale' in [state for _, state, _ in verify(tmp_path)]


def test_a_result_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        keep('a', {}, lambda: 1 / 0, tmp_path)
    with pytest.raises(AttributeError):  # JSON cannot hold it
        keep('a', {}, lambda: object(), tmp_path)
    assert [*(tmp_path / 'found').iterdir()] == []


@pytest.mark.parametrize('folder', sorted((ROOT / 'results').glob('*/found')), ids=lambda folder: folder.parent.name)
def test_committed_results_are_whole(folder):
    assert {runs._state_of_result(path)[0] for path in folder.glob('*.json')} == {'whole'}


def found(profile, name):
    "The results of an experiment that are on file: run -> what was found."
    records = {r['key']: r for r in map(read_sealed, (ROOT / 'results' / profile / 'runs').glob('*.json'))}
    kept = [read_sealed(path) for path in (ROOT / 'results' / profile / 'found').glob(f'{name}-*.json')]
    assert all(k['what']['weights'] == records[k['what']['run']]['weights_sha256'] for k in kept)
    return {(records[run]['how']['steps'], records[run]['seed']): k['found'] for k in kept if (run := k['what']['run'])}


def test_early_stops_table_follows_from_what_was_found():
    table = pd.read_csv(ROOT / 'results' / 'quick' / 'early_stop.csv')
    kept, seed = found('quick', 'early_stop'), table.model.str[-1].astype(int)
    assert sorted(kept) == sorted(zip(table['training steps'], seed, strict=True))
    for row, seed_ in zip(table.to_dict('records'), seed, strict=True):
        one = kept[row['training steps'], seed_]
        assert row['mean steps'] == round(sum(one['steps']) / len(one['steps']), 2)
        assert row['times less work'] == round(16 / one['effect']['work'], 1)
        assert len(one['q']) == row['test puzzles'] and len(one['thresholds']) == 73
        shares = [row[f'{name} %'] for name in ('solved, all 16 steps', 'solved, early stop', 'same answer')]
        assert shares == [round(100 * one['effect'][name], 1) for name in ('all steps', 'early stop', 'same')]


def test_precisions_table_follows_from_what_was_found():
    table = pd.read_csv(ROOT / 'results' / 'quick' / 'precision.csv')
    kept = found('quick', 'precision')
    assert [f'seed {seed}' for _, seed in sorted(kept)] == [*table.iloc[:, 0]]
    for row, (_, one) in zip(table.to_dict('records'), sorted(kept.items()), strict=True):
        low, full = (np.array(one['solved'][dtype]) for dtype in ('bfloat16', 'float32'))
        assert (row['only in bfloat16'], row['only in float32']) == ((low > full).sum(), (full > low).sum())
        assert row['difference %'] == round(100 * (low.mean() - full.mean()), 1)
        assert low.mean() == pytest.approx(one['share']['bfloat16'][-1])
