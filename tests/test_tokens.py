"Puzzle sets, splits and streams: what they refuse, what identifies them, and that a batch depends on its number alone."

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from trm_nbdev.tokens import PuzzleSet, Splits, Stream, check_counts, keep_identifiers


def puzzles(n: int = 10, **changes) -> PuzzleSet:
    tokens = np.random.default_rng(0).integers(1, 6, (2, n, 24), np.uint8)
    tokens[:, :, 0] = 5
    return replace(PuzzleSet('test', *tokens, (4, 6), 6), **changes)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(inputs=np.ones((10, 24), np.int64)), 'inputs: expected a uint8 array, got int64'),
        (dict(labels=[[1] * 24] * 10), 'labels: expected a uint8 array, got list'),
        (dict(shape=(5, 6)), r'inputs: expected shape \(N, 30\), got \(10, 24\)'),
        (dict(labels=np.ones((10, 12), np.uint8)), r'labels: expected shape \(N, 24\), got \(10, 12\)'),
        (dict(labels=np.ones((9, 24), np.uint8)), 'as many labels as inputs, got 9 and 10'),
        (dict(vocab_size=5), 'inputs: expected tokens below vocab_size=5, got 5'),
        (dict(vocab_size=300), 'vocab_size is 300, expected a whole number from 2 to 256'),
        (dict(shape=(-4, -6)), r'shape is \(-4, -6\), expected a tuple of'),
        (dict(identifiers=np.arange(9)), 'identifiers: expected 10 integers of at least 0'),
        (dict(identifiers=-np.ones(10, int)), 'identifiers: expected 10 integers of at least 0'),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        puzzles(**changes)


def test_subset_keeps_identifiers():
    part = puzzles(identifiers=np.arange(10)).subset(slice(3, 5))
    assert len(part) == 2 and part.identifiers.tolist() == [3, 4] and (part.inputs == puzzles().inputs[3:5]).all()


def test_digest_names_the_puzzles():
    p = puzzles()
    others = [
        replace(p, inputs=p.labels, labels=p.inputs),
        replace(p, shape=(6, 4)),
        replace(p, identifiers=np.arange(10)),
        replace(p, vocab_size=7),
    ]
    assert len({p.digest, *(other.digest for other in others)}) == 5
    assert replace(p, name='another').digest == p.digest
    tiny = PuzzleSet('tiny', np.array([[1, 2]], np.uint8), np.array([[2, 2]], np.uint8), (1, 2), 3)
    assert tiny.digest[:16] == '01d138a4000a809d'  # the same on every machine


def test_splits_refuse_parts_that_do_not_fit_together():
    p, none = puzzles(), puzzles().subset(slice(0, 0))
    assert len(Splits(p, none, p).valid) == 0
    with pytest.raises(ValueError, match=r'test: expected shape and vocab_size \(\(4, 6\), 6\) as in train'):
        Splits(p, p, replace(p, shape=(6, 4)))
    with pytest.raises(ValueError, match='test: expected at least one puzzle'):
        Splits(p, p, none)
    with pytest.raises(ValueError, match='train: expected at least one puzzle'):
        Splits(none, p, p)


@pytest.mark.parametrize('counts, name', [((0, 1, 1), 'n_train'), ((1, -1, 1), 'n_valid'), ((1, 0, 0), 'n_test')])
def test_counts_that_make_no_splits_are_refused(counts, name):
    with pytest.raises(ValueError, match=f'{name} is (0|-1), expected a whole number from'):
        check_counts(*counts)


def test_streams_refuse_what_they_cannot_draw():
    p = puzzles()
    for arguments, message in (
        ((p.subset(slice(0, 0)), 4), 'puzzles is empty, expected at least one puzzle'),
        ((p, 0), 'batch_size is 0, expected a whole number from 1'),
        ((p, 4, -1), 'seed is -1, expected a whole number from 0'),
    ):
        with pytest.raises(ValueError, match=message):
            Stream(*arguments)
    with pytest.raises(ValueError, match='k is -1, expected a whole number from 0'):
        Stream(p, 4).batch(-1)


def test_batches_are_the_epochs_one_behind_the_other():
    order = [np.random.default_rng([3, epoch, 0]).permutation(10) for epoch in range(8)]
    for size, batches in ((4, 20), (10, 8), (35, 2), (80, 1)):
        stream = Stream(puzzles(), size, seed=3)
        drawn = np.concatenate([stream.batch(k)[0] for k in range(batches)])
        assert (drawn == puzzles().inputs[np.concatenate(order)][: len(drawn)]).all()


def shuffled(rng, inputs, labels):
    return rng.permuted(inputs, axis=1), labels


def test_augmentation_depends_on_seed_and_number_alone():
    p = puzzles(augment=partial(keep_identifiers, change=shuffled), identifiers=np.arange(10))
    stream, again = Stream(p, 4, seed=1), pickle.loads(pickle.dumps(Stream(p, 4, seed=1)))
    expected = p.subset(np.random.default_rng([1, 0, 0]).permutation(10)[:4])
    inputs, labels, identifiers = stream.batch(0)
    assert (inputs == np.random.default_rng([1, 0, 1]).permuted(expected.inputs, axis=1)).all()
    assert (labels == expected.labels).all() and (identifiers == expected.identifiers).all()
    for k in (7, 0, 3):
        assert all((a == b).all() for a, b in zip(stream.batch(k), again.batch(k), strict=True))
