"""Can a trained network follow the rule of a new task, if only its identifier is learned? To results/identifiers.json:

python tools/identifiers.py        about ten minutes of one core

A small model is trained on the demonstrations of generated tasks of one rule that colours cells. Other tasks of the
same families of rules are held out, and a whole family. Then `learn_tasks` learns identifiers alone. The tests of all
tasks, which no training has seen, are answered under the identifiers that the training gave, under fresh ones, and
under those that were learned.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from trm_nbdev.engine.files import replacing
from trm_nbdev.engine.own_puzzles import LEARN, learn_tasks
from trm_nbdev.engine.runs import machine
from trm_nbdev.model import TRM, TRMConfig, n_parameters
from trm_nbdev.puzzles import arc
from trm_nbdev.puzzles.arc_maker import RULES, make_task
from trm_nbdev.solving import think, wilson
from trm_nbdev.tokens import PuzzleSet
from trm_nbdev.training import TrainConfig, train

RESULT = Path(__file__).resolve().parent.parent / 'results' / 'identifiers.json'
COLOURING, STRANGE = ('recolour', 'swap', 'keep'), ('border',)
SIDE, TASKS = 5, 32  # of the canvas; held out, and as many of the others to compare with
MODEL = TRMConfig(
    vocab_size=arc.VOCAB_SIZE,
    seq_len=SIDE**2,
    hidden_size=64,
    heads=4,
    multiple=32,
    mixer='attention',
    n=2,
    T=2,
    puzzle_emb_ndim=64,
    puzzle_emb_len=1,
    dtype='float32',
)
KNOWN, NEW, OTHER = 'trained with the network', 'held out', 'of a family that is held out'
FRESH, LEARNED = 'a fresh one', 'learned alone'  # the blank identifier, which no training has met, is as fresh as any
TRAIN = TrainConfig(steps=4000, batch_size=64, lr=1e-3, warmup=50, weight_decay=0.1, evaluations=0)


def pack() -> tuple[list[arc.Task], dict[str, list[arc.Task]]]:
    "A task for each rule: those to train on, and those that are held out. Versions of their tests are in no training."
    rng = np.random.default_rng(0)

    def made(families: Sequence[str]) -> list[arc.Task]:
        tasks = [make_task(rng, (rule,), SIDE) for rule in RULES if rule.family in families]
        return [tasks[i] for i in rng.permutation(len(tasks)) if tasks[i]]

    known = made(COLOURING)
    trained, held_out = known[TASKS:], {NEW: known[:TASKS], OTHER: made(STRANGE)}
    tests = {task.name: task.tests for tasks in held_out.values() for task in tasks}
    demos = arc.without_relatives({task.name: task.demos for task in trained}, tests)
    return [replace(task, demos=demos[task.name]) for task in trained], held_out


def answered(model: TRM, asked: PuzzleSet, identifiers: np.ndarray) -> tuple[int, float]:
    "How many puzzles are solved, and the share of cells that are right."
    tokens, graded = think(model, asked.inputs, identifiers).tokens[-1], asked.labels != arc.PADDING
    right = tokens == asked.labels
    return int((right | ~graded).all(1).sum()), float(right[graded].mean())


def row(kind: str, which: str, model: TRM, splits: arc.ArcSplits, tasks: list[arc.Task]) -> dict:
    "What the model answers to demonstrations and tests of some tasks, each in its original version."
    found: dict = dict(tasks=f'{len(tasks)} {kind}', identifier=which)
    names = [task.name for task in tasks]
    originals = splits.versions.first[[splits.versions.tasks.index(name) for name in names]]
    for part, puzzles in (('demonstrations', splits.train), ('tests', splits.test)):
        asked = puzzles.subset(np.isin(puzzles.identifiers, originals))
        solved, cells = answered(model, asked, asked.identifiers * (which != FRESH))
        found |= {part: len(asked), f'{part} solved': solved, f'{part}, cells right': round(cells, 4)}
    found['interval'] = [round(end, 4) for end in wilson(found['tests solved'], found['tests'])]
    print(found, flush=True)
    return found


def met(splits: arc.ArcSplits, tasks: list[arc.Task]) -> int:
    "How many of these tasks have the rule of a version of another task: its rule in other colours."
    seen, v = set(), splits.versions
    for k, name in enumerate(v.tasks):
        for colours in v.colours[v.first[k] : v.first[k + 1]]:
            seen.add(spelt(name, colours))
    return sum(spelt(task.name, np.arange(10)) in seen for task in tasks)


def spelt(name: str, colours: np.ndarray) -> tuple:
    "A rule in other colours: its family and colours; the two that are swapped have no order."
    family, values = name[:-1].split('(')
    renamed = [int(colours[int(value)]) for value in values.split(',')]
    return family, *(sorted(renamed) if family == 'swap' else renamed)


def main() -> None:
    torch.set_num_threads(1)
    trained, held_out = pack()
    splits = arc.split_tasks('trained', (), trained, (), SIDE, n_augmentations=3, n_valid=0)
    start = time.process_time()
    model = train(replace(MODEL, num_puzzle_identifiers=splits.num_puzzle_identifiers), TRAIN, splits).average
    seconds = [time.process_time() - start]
    known = trained[:TASKS]
    rows = [row(KNOWN, which, model, splits, known) for which in ('the right one', FRESH)]
    for kind, tasks in ((KNOWN, known), *held_out.items()):
        start = time.process_time()
        learned, theirs = learn_tasks(model, tasks)
        seconds.append(time.process_time() - start)
        rows += [row(kind, which, learned, theirs, tasks) for which in (FRESH, LEARNED)[kind == KNOWN :]]
    found = dict(parameters=n_parameters(model), trained_tasks=len(trained), identifiers=len(splits.versions) - 1)
    found |= dict(
        new_rules_met_as_versions=met(splits, held_out[NEW]), core_seconds=[round(s) for s in seconds], rows=rows
    )
    found |= dict(train_config=asdict(TRAIN), learn=asdict(LEARN), machine=machine())
    with replacing(RESULT) as file:
        file.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
