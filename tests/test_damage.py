"""Files that are damaged at random: what is read is what was written, or the damage is named. Never anything else."""

import json
import random
import shutil
import string
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from trm_nbdev.engine import data as caches
from trm_nbdev.engine.checkpoints import load_checkpoint, save_checkpoint
from trm_nbdev.engine.data import ArcData, BenchmarkData, MazeData, SudokuData
from trm_nbdev.engine.plan import run_spec
from trm_nbdev.engine.rerun import status
from trm_nbdev.engine.runs import (
    _metrics_writer,
    kept_model,
    read_record,
    record_path,
    recorded_rows,
    verify,
    whole_records,
)
from trm_nbdev.engine.weights import load_model, save_model
from trm_nbdev.model import TRM, TRMConfig

SMALL = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=2, T=2, n_sup=4)


# ---- damages


def flip_a_bit(b: bytearray, rng: random.Random) -> None:
    if b:
        b[rng.randrange(len(b))] ^= 1 << rng.randrange(8)


def change_a_digit(b: bytearray, rng: random.Random) -> None:
    if places := [i for i, c in enumerate(b) if c in string.digits.encode()]:
        b[rng.choice(places)] = rng.choice(string.digits.encode())


def cut_off(b: bytearray, rng: random.Random) -> None:
    del b[rng.randrange(len(b) + 1) :]


def insert(b: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(b) + 1)
    b[at:at] = rng.choice([rng.randbytes(rng.randrange(1, 9)), b'0', b' ', b'\n', b'{}', b'\xff', b'"', b','])


def delete(b: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(b) + 1)
    del b[at : at + rng.choice([1, 2, 8, 100])]


def repeat(b: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(b) + 1)
    b[at:at] = b[at : at + rng.choice([1, 2, 8, 100, 4096])]


def zero_a_block(b: bytearray, rng: random.Random) -> None:
    at, n = rng.randrange(len(b) + 1), rng.choice([1, 8, 512, 4096])
    b[at : at + n] = bytes(len(b[at : at + n]))


def fill_with_noise(b: bytearray, rng: random.Random) -> None:
    b[:] = rng.randbytes(rng.choice([0, 1, 8, len(b)]))


IN_A_FILE = [flip_a_bit, change_a_digit, cut_off, insert, delete, repeat, zero_a_block, fill_with_noise]
OF_FILES = ['swap two files', 'a copy of another file', 'a missing file', 'a folder in its place', 'one file more']


def damage(folder: Path, rng: random.Random) -> str:
    "Damage a file somewhere in a folder, or two; what was done."
    files = sorted(p for p in folder.rglob('*') if p.is_file())
    if not files:
        return 'nothing is left'
    how: Any = rng.choice(IN_A_FILE * 3 + OF_FILES)
    one, other = rng.sample(files, 2) if len(files) > 1 else files * 2
    if callable(how):
        content = bytearray(one.read_bytes())
        how(content, rng)
        one.write_bytes(content)
    elif how == 'swap two files':
        a, b = one.read_bytes(), other.read_bytes()
        one.write_bytes(b), other.write_bytes(a)
    elif how == 'a copy of another file':
        shutil.copyfile(other, one) if one != other else None
    elif how == 'one file more':
        # under the name of another step, model or part, such as step_23.json
        name = ''.join(rng.choice(string.digits) if c.isdigit() else c for c in one.name)
        shutil.copyfile(other, one.with_name(name)) if not one.with_name(name).exists() else None
    else:
        one.unlink()
        if how == 'a folder in its place':
            one.mkdir()
    return getattr(how, '__name__', how)


def contents(folder: Path) -> dict[Path, bytes]:
    "All files in a folder, to be put back."
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}


def put_back(files: dict[Path, bytes], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def storm(folder: Path, cases: Iterator[random.Random], check: Callable[[], str]) -> None:
    "Damage a folder in many ways, each time as it was at first; counts the outcomes."
    whole, outcomes = contents(folder), Counter[str]()
    assert check() == 'as it was'
    for rng in cases:
        put_back(whole, folder)
        done = [damage(folder, rng) for _ in range(rng.choice([1, 1, 1, 2]))]
        try:
            outcomes[check()] += 1
        except Exception as e:
            e.add_note(f'after {done}')
            raise
    print(folder.name, sum(outcomes.values()), dict(outcomes))


def told(warned: list[warnings.WarningMessage]) -> str:
    return '\n'.join(str(w.message) for w in warned)


# ---- checkpoints


@pytest.mark.storm
def test_checkpoints(tmp_path, storm_cases):
    folder, rng = tmp_path / 'checkpoints', np.random.default_rng(0)
    written = {}
    for step in (10, 20):
        tensors = {name: torch.from_numpy(rng.normal(size=(5, 7))) for name in ('model.w', 'averaged.w')}
        tensors |= {'generator': torch.arange(40, dtype=torch.uint8), 'half': torch.ones(3, dtype=torch.bfloat16)}
        curve = [dict(step=k, samples=64 * k, loss=rng.random(), valid_exact=rng.random()) for k in range(step)]
        written[step] = (
            tensors,
            dict(curve=curve, seconds=rng.random(), counts={'0.0.step': step}, identity={'seed': 0}),
        )
        save_checkpoint(folder, step, *written[step])

    def check() -> str:
        with warnings.catch_warnings(record=True, action='always') as warned:
            found = load_checkpoint(folder)
        if found:
            step, tensors, rest = found
            old, kept = written[step]
            assert json.dumps(rest, sort_keys=True) == json.dumps(kept, sort_keys=True) and tensors.keys() == old.keys()
            assert all(v.dtype == old[k].dtype and torch.equal(v, old[k]) for k, v in tensors.items())
        if found and step == 20:
            return 'as it was'
        finished = (folder / 'step_20.json').exists()
        assert f'the checkpoint of step 20 in {folder} is damaged' in told(warned) or not finished
        return 'the one before' if found else 'none'

    storm(folder, storm_cases, check)


# ---- records


@pytest.mark.storm
def test_records(tmp_path, storm_cases):
    rows = {'TRM': {}, 'four layers': dict(layers=4, n=3)}
    specs = {row: run_spec('quick', changes) for row, changes in rows.items()}
    (tmp_path / 'runs').mkdir()
    for spec in specs.values():
        shutil.copy(record_path(spec, ROOT / 'results' / 'quick'), tmp_path / 'runs')
    good = {row: read_record(spec, tmp_path) for row, spec in specs.items()}
    assert all(good.values())

    def check() -> str:
        with warnings.catch_warnings(record=True, action='always') as warned:
            found = {row: read_record(spec, tmp_path) for row, spec in specs.items()}
            by_row = recorded_rows(rows, 'quick', out=tmp_path)
            assert all(record in good.values() for record in whole_records(tmp_path))
        assert by_row == {row: [record] for row, record in found.items() if record}
        damaged = {name for name, state, _ in verify(tmp_path) if state == 'damaged'}
        for row, record in found.items():
            path = record_path(specs[row], tmp_path)
            assert record == good[row] if record else str(path) in told(warned) or not path.exists()
            assert (f'runs/{path.name}' in damaged) == (record is None and path.exists())
        return 'as it was' if found == good else 'refused'

    storm(tmp_path, storm_cases, check)


# ---- models


@pytest.mark.storm
def test_models(tmp_path, storm_cases):
    models = {}
    for name in 'ab':
        torch.manual_seed(ord(name))
        models[name] = TRM(SMALL)
        save_model(models[name], tmp_path / name)
    record = read_record(run_spec('quick', {}), ROOT / 'results' / 'quick')
    assert record is not None
    record |= dict(model=json.loads((tmp_path / 'a' / 'config.json').read_text()), weights_sha256=None)

    def same(one: TRM, other: TRM) -> bool:
        a, b = one.state_dict(), other.state_dict()
        return one.config == other.config and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

    def check() -> str:
        try:
            model, remark = kept_model(tmp_path / 'a', record)
            assert same(model, load_model(tmp_path / 'a')) and remark == '' and same(model, models['a'])
            return 'as it was'
        except ValueError as e:
            assert str(tmp_path / 'a') in str(e)
            return 'refused'

    storm(tmp_path, storm_cases, check)


# ---- logs


@pytest.mark.storm
def test_logs(tmp_path, storm_cases):
    path = tmp_path / 'a-run' / 'metrics.jsonl'
    for step in range(20, 201, 20):
        _metrics_writer(path)(dict(step=step, of=400, loss=1 / step, rate=123.4))
    lines = set(path.read_bytes().splitlines())

    def check() -> str:
        status(tmp_path, 0)
        if path.is_dir():
            return 'not reported'  # see test_records
        write = _metrics_writer(path)
        for step in (100, 120):
            write(dict(step=step, of=400, loss=1 / step, rate=123.4))
        after = pd.read_json(path, lines=True)
        assert after.step.tolist()[-2:] == [100, 120] and (after.step.iloc[:-2] < 100).all()
        return 'as it was' if set(path.read_bytes().splitlines()) <= lines else 'changed'

    storm(tmp_path, storm_cases, check)


# ---- prepared puzzles


@pytest.mark.storm
@pytest.mark.parametrize(
    'data',
    [
        SudokuData(clues=20, n_train=8, n_valid=2, n_test=2),
        MazeData(side=5, min_path=6, n_train=8, n_valid=2, n_test=2),
        ArcData(1, side=5, n_augmentations=1, n_valid=2, n_votes=1),
        ArcData(1, side=6, n_augmentations=1, n_train=8, n_valid=2, n_votes=1, n_test=4),
    ],
    ids=lambda data: data.name,
)
def test_prepared_puzzles(data: BenchmarkData, tmp_path, storm_cases, monkeypatch):
    monkeypatch.setenv('TRM_CACHE', str(tmp_path))
    digests = [part.digest for part in (data.load().train, data.load().valid, data.load().test)]
    prepared, cases = data.prepare(), []
    # what is prepared anew is the same as what was prepared first, so that it need not be computed each time
    monkeypatch.setattr(type(data), 'prepare', lambda self: cases.append(self) or prepared)

    def check() -> str:
        caches._load.cache_clear()
        cases.clear()
        with redirect_stdout(StringIO()) as printed:
            splits = data.load()
            again = data.load()
        assert again is splits and [p.digest for p in (splits.train, splits.valid, splits.test)] == digests
        assert not cases or f'{tmp_path}' in printed.getvalue()
        return 'prepared anew' if cases else 'as it was'

    storm(tmp_path, storm_cases, check)
