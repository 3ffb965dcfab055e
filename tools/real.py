"""The real Sudoku-Extreme, beside the profiles:

python tools/real.py train FOLDER STEPS EVALUATIONS [NAME=VALUE ...]
    Train the model `sudoku-extreme`, as it is or with other fields, such as weight_decay=1.0, into results/real/runs
    and results/real/models. The shipped one had 2000 steps and 8 evaluations, the long one on a GPU 13680 and 40. Those
    with stronger weight decay had 9000 and 36, keep_best=true, and lr=2e-3 weight_decay=1.0, lr=1e-3 weight_decay=1.0,
    lr=5e-4 weight_decay=1.0 or lr=1e-3 weight_decay=3.0; none of these came to its end.
python tools/real.py think FOLDER N K
    Let the shipped one answer N test puzzles in K chains, into results/real. 16 chains take about a second a puzzle on
    one core. It goes on where it stopped.

python tools/real.py first FOLDER WEIGHTS FROM TO K
    Let the model in the folder WEIGHTS answer the test puzzles FROM, ..., TO-1, both multiples of 100, in up to K
    chains: a puzzle is finished when a chain is sure. Two processes share the work, and it goes on where it stopped:
    a hundred puzzles that it has answered stay as they are, even if K is larger now.
    The weights in results/real/cut_off answered 0 1000 with K=16, and 1000 5000 with K=4.

python tools/real.py progress FOLDER
    Where the training of the profile `overnight` is: its curve and the averaged weights of its best validation so far,
    from the newest checkpoint, into results/overnight-real/progress.
    git ignores the checkpoint. If the machine may not last as long as the training, commit it, too, and remove it when
    the training has ended: git add -f results/overnight-real/checkpoints/RUN/step_N.*, 20 MB.

FOLDER holds sudoku-extreme/train.csv and test.csv. 1,000 rows of test.csv, those with the lowest hashes, are for
validation; the other 9,000 are the test puzzles.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from trm_nbdev.baselines import BASE
from trm_nbdev.engine.checkpoints import load_checkpoint
from trm_nbdev.engine.data import SUDOKU, BenchmarkData
from trm_nbdev.engine.files import replacing
from trm_nbdev.engine.plan import RunSpec, data_of, out_folder, rows_of, run_spec, run_specs
from trm_nbdev.engine.rerun import changes_of
from trm_nbdev.engine.runs import run
from trm_nbdev.engine.weights import load_model, save_model
from trm_nbdev.model import TRM
from trm_nbdev.puzzles import sudoku
from trm_nbdev.solving import solved_puzzles
from trm_nbdev.thinking_longer import CHOICES, Difference, choose_answer, think_longer

OUT = Path(__file__).resolve().parent.parent / 'results' / 'real'
FAST = dict(T=2, n=2, train_n_sup=4, halt_weight=0.1, lr=2e-3, warmup=200, stop_at=0.0)
WIDE = dict(hidden_size=256, multiple=64, puzzle_emb_len=15, batch_size=768)  # 96 positions suit a GPU better than 97
BLOCK, LARGE = 16, 100  # puzzles


def puzzles(folder: str) -> BenchmarkData:
    "The real puzzles, as the profile `overnight` splits them."
    return data_of('overnight', SUDOKU, folder)


def spec(folder: str, steps: int, evaluations: int, *words: str) -> RunSpec:
    "The training of the shipped model, at any length, and with other fields."
    more = changes_of(BASE, *words)
    return run_spec('laptop', FAST | WIDE | dict(steps=steps, evaluations=evaluations) | more, 0, puzzles(folder))


def answered(questions: np.ndarray, labels: np.ndarray, chains: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    "A block of puzzles: each chain of each puzzle, and what each way to choose makes of the first chains."
    model, change = load_model('sudoku-extreme'), partial(sudoku.change_and_undo, box=(3, 3))
    t = think_longer(model, questions, None, 16 * chains, chains, Difference(symmetry=change), seed=seed)
    right, names = solved_puzzles(t.chains, labels), np.arange(len(labels)) + BLOCK * seed
    each = [dict(puzzle=p, chain=k, right=int(right[k, i]), q=round(float(t.q[k, i]), 3), steps=t.steps[k, i])
            for i, p in enumerate(names) for k in range(chains)]  # fmt: skip
    counts = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= chains]
    chosen = [(k, way, choose_answer(t.chains[:k], t.q[:k], way)) for k in counts for way in CHOICES]
    ways = [dict(block=seed, chains=k, choose=way, solved=solved_puzzles(a, labels).sum()) for k, way, a in chosen]
    return pd.DataFrame(each), pd.DataFrame(ways)


def add(path: Path, found: pd.DataFrame) -> None:
    "Add rows to a file, in place of those that an interrupted block has left: those with the same first column."
    before = pd.read_csv(path) if path.is_file() else found[:0]
    others = before[~before.iloc[:, 0].isin(found.iloc[:, 0])]
    with replacing(path) as new:
        pd.concat([others, found]).to_csv(new, index=False)


def think(folder: str, n: int, chains: int) -> None:
    "Answer whole blocks of test puzzles, and add them to the two files."
    test, paths = puzzles(folder).load().test, [OUT / f'{name}{chains}.csv' for name in ('chains', 'ways')]
    done = set(pd.read_csv(paths[1]).block) if paths[1].is_file() else set()
    for block in tqdm([b for b in range(n // BLOCK) if b not in done], desc='blocks of puzzles'):
        part = test.subset(slice(BLOCK * block, BLOCK * (block + 1)))
        for path, found in zip(paths, answered(part.inputs, part.labels, chains, block), strict=True):
            add(path, found)


def answered_in_turn(block: int, chains: int, weights: str, folder: str) -> pd.DataFrame:
    "A block of puzzles, one chain after the other until one is sure: every chain that was needed."
    torch.set_num_threads(1)
    model, change = load_model(weights), partial(sudoku.change_and_undo, box=(3, 3))
    part = puzzles(folder).load().test.subset(slice(LARGE * block, LARGE * (block + 1)))
    how = dict(difference=Difference(symmetry=change), choose='first sure', seed=block)
    t = think_longer(model, part.inputs, None, 16 * chains, chains, **how)
    right, (needed, puzzle) = solved_puzzles(t.chains, part.labels), np.nonzero(t.steps)
    found = pd.DataFrame(dict(puzzle=LARGE * block + puzzle, chain=needed, right=right[needed, puzzle].astype(int)))
    return found.assign(q=t.q[needed, puzzle].astype(float).round(3), steps=t.steps[needed, puzzle])


def first(folder: str, weights: str, blocks: range, chains: int) -> None:
    "Answer blocks of test puzzles in as many chains as they need, and add them to a file beside the weights."
    path = Path(weights) / 'first_sure.csv'
    done = set(pd.read_csv(path).puzzle // LARGE) if path.is_file() else set()
    left = [block for block in blocks if block not in done]
    answer = partial(answered_in_turn, chains=chains, weights=weights, folder=folder)
    with ProcessPoolExecutor(2, get_context('spawn')) as pool:
        for found in tqdm(pool.map(answer, left), desc='blocks of puzzles', total=len(left)):
            add(path, found)


def progress(folder: str) -> None:
    "Write the curve and the best averaged weights of the long training that is under way."
    (spec,) = run_specs(rows_of('long_run', 'overnight'), 'overnight', data=folder).values()
    out = out_folder(None, 'overnight', folder)
    found = load_checkpoint(out / 'checkpoints' / spec.id)
    if found is None:
        sys.exit(f'{spec.id} has no checkpoint in {out}: it has not begun, or is finished')
    step, tensors, rest = found
    model, start = TRM(spec.model), 'best.' * any(name.startswith('best.') for name in tensors)
    weights = {k.partition('.module.')[2]: v for k, v in tensors.items() if k.startswith(f'{start}averaged.module.')}
    weights |= {'embed.puzzles.weight': tensors[f'{start}model.embed.puzzles.weight']}
    model.load_state_dict(weights)
    save_model(model, out / 'progress', half=True)
    told = dict(id=spec.id, step=step, of=spec.train_config.steps, seconds=rest['seconds'], curve=rest['curve'])
    with replacing(out / 'progress' / 'progress.json') as new:
        new.write_text(json.dumps(told, indent=1), encoding='utf-8')
    print(f'{spec.id}: step {step:,} of {spec.train_config.steps:,}')


if __name__ == '__main__':
    match sys.argv[1:]:
        case 'train', folder, steps, evaluations, *words:
            run(spec(folder, int(steps), int(evaluations), *words), OUT)
        case 'think', folder, n, chains:
            think(folder, int(n), int(chains))
        case 'first', folder, weights, start, stop, chains if not (int(start) % LARGE or int(stop) % LARGE):
            first(folder, weights, range(int(start) // LARGE, int(stop) // LARGE), int(chains))
        case 'progress', folder:
            progress(folder)
        case _:
            sys.exit(__doc__)
