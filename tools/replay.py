"""Replay the shipped models in JavaScript, and write how far they are from PyTorch to results/page.json:

python tools/replay.py [PUZZLES]        200 of each kind by default

It takes about two minutes of one core for a model, and twenty for sudoku-extreme. A model is left out if the file has
it already, with as many puzzles, as long as neither its weights nor the page's network have changed. Delete the file
to replay them all.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trm_nbdev.engine.files import replacing
from trm_nbdev.engine.maze_maker import maze_splits
from trm_nbdev.engine.page import PAGE, packed
from trm_nbdev.engine.sudoku_maker import generate
from trm_nbdev.engine.weights import SHIPPED, SUMS, load_model, shipped_models
from trm_nbdev.model import TRM
from trm_nbdev.puzzles import sudoku

PROGRAM = """
const TRM = require(process.argv[1]), given = JSON.parse(require('fs').readFileSync(0));
const model = TRM.load(given.model), results = given.questions.map((question, i) => {
  let state = model.initial();
  return Array.from({length: given.steps}, () => {
    const r = model.step(question, state, given.identifiers[i]);
    state = r.state;
    return [...r.logits, ...r.q];
  });
});
console.log(JSON.stringify({results, seconds: process.cpuUsage().user / 1e6}));
"""


def replayed(
    model: TRM, questions: np.ndarray, identifiers: np.ndarray, steps: int
) -> tuple[np.ndarray, float]:  # (N, S, cells*V + 2), and seconds of one core
    "Logits and halting logits after every step, computed by trm.js in Node."
    asked = dict(questions=questions.tolist(), identifiers=identifiers.tolist(), steps=steps, model=packed(model))
    command = [shutil.which('node') or 'node', '-e', PROGRAM, str(PAGE / 'trm.js')]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = json.loads(done.stdout)
    return np.array(found['results']), found['seconds']


def recorded(
    model: TRM, questions: np.ndarray, identifiers: np.ndarray, steps: int, dtype: str = 'float64'
) -> np.ndarray:  # (N, S, cells*V + 2)
    "The same, computed by PyTorch in another type than the model's."
    exact = TRM(replace(model.config, dtype=dtype))
    exact.load_state_dict(model.state_dict())
    state, results = exact.initial(len(questions)), []
    with torch.no_grad():
        for _ in range(steps):
            state, logits, q = exact(torch.from_numpy(questions).long(), state, torch.from_numpy(identifiers))
            results.append(torch.cat([logits.flatten(1), q.to(logits.dtype)], 1))
    return torch.stack(results, 1).double().numpy()


def puzzles(name: str, n: int) -> np.ndarray:
    "Questions like those that a shipped model was trained on."
    if name.startswith('maze'):
        side = int(name.rpartition('x')[2])
        return maze_splits(side=side, min_path=12, n_train=1, n_valid=1, n_test=n, seed=777).test.inputs
    known = {'sudoku-6x6': ((2, 3), None), 'sudoku-9x9': ((3, 3), 31), 'sudoku-extreme': ((3, 3), None)}
    box, clues = known.get(name, ((2, 3), 18))  # rows of Table 1
    return sudoku.to_tokens(generate(n, box, clues, seed=777)[0])


def measure(name: str, n: int) -> dict[str, float]:
    "Largest differences over all steps, cells and tokens."
    model, questions = load_model(name), puzzles(name, n)
    ids, steps = np.zeros(n, np.int64), model.config.n_sup
    page, seconds = replayed(model, questions, ids, steps)
    exact, single = (recorded(model, questions, ids, steps, dtype) for dtype in ('float64', 'float32'))

    def differ(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        far = np.abs(a - b).max(-1)
        return dict(largest=float(far.max()), median=float(np.median(far)), puzzles=int((far.max(1) > 1e-4).sum()))

    found: dict = dict(steps=steps, seconds_per_step=round(seconds / n / steps, 4))
    found |= {'page and float64': differ(page, exact), 'float32 and float64': differ(single, exact)}
    return found | {'page and float32': differ(page, single)}


def compared(name: str) -> str:
    "SHA-256 of the two things that are compared: the page's network, and a model's configuration and weights."
    return hashlib.sha256((PAGE / 'trm.js').read_bytes() + (SHIPPED / name / SUMS).read_bytes()).hexdigest()


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    torch.set_num_threads(1)
    path = Path(__file__).resolve().parent.parent / 'results' / 'page.json'
    known = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    for name in shipped_models():
        this = dict(puzzles=n, compared=compared(name))
        if this.items() <= known.get(name, {}).items():
            print(name, 'is up to date', flush=True)
            continue
        start = time.time()
        known[name] = this | measure(name, n)
        print(name, known[name], f'{time.time() - start:.0f} s', flush=True)
        found = {name: known[name] for name in shipped_models() if name in known}
        with replacing(path) as new:
            new.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
