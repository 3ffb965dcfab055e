"""What compiling a row costs on this machine's CPU:

python tools/compiling.py FILE
    Make the first two training steps of every row of Tables 1 and 2, as `laptop` trains them, each in a process of its
    own. torch.compile keeps what it has compiled in a folder; it begins empty, and each process finds what those before
    it have left. One line a row goes to FILE, a CSV: processor time of the first step, which compiles, and of the
    second, which does not. It takes about five minutes of one core.
"""

import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from trm_nbdev.baselines import ROWS
from trm_nbdev.engine.files import replacing
from trm_nbdev.engine.long_runs import compile_network, fixed_threads, processor_time
from trm_nbdev.engine.plan import run_specs
from trm_nbdev.engine.runs import machine
from trm_nbdev.tokens import Stream
from trm_nbdev.training import begin, to_tensors, train_step


def first_steps(row: str, changes: dict) -> dict:
    "Core-seconds of the first two training steps of a row."
    (spec,) = run_specs({row: changes}, 'laptop', [0]).values()
    how, stream = spec.train_config, Stream(spec.data.load().train, spec.train_config.batch_size, 0)
    t, spent = begin(spec.model, how), []
    with fixed_threads(1):
        compile_network(t.model)
        for k in range(2):
            batch, before = to_tensors(stream.batch(k), t.model), processor_time()
            train_step(t, how, batch)
            spent.append(round(processor_time() - before, 1))
    m = spec.model
    kind = f'{m.mixer}, {m.layers} layers, {m.puzzle_emb_len} positions in front'  # two networks are alike
    here = {k: machine()[k] for k in ('processor', 'torch', 'compiler')}
    return dict(row=row, kind=kind, first_step=spent[0], second_step=spent[1]) | here


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = {row: changes for table in ('Table 1', 'Table 2') for row, changes in ROWS[table].items()}
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= dict(TORCHINDUCTOR_CACHE_DIR=cache, TORCHINDUCTOR_COMPILE_THREADS='1', OMP_NUM_THREADS='1')
        with ProcessPoolExecutor(1, get_context('spawn'), max_tasks_per_child=1) as pool:
            waiting = [pool.submit(first_steps, *row) for row in rows.items()]
            found = pd.DataFrame([ready.result() for ready in tqdm(waiting, desc='rows')])
    with replacing(Path(sys.argv[1])) as new:
        found.to_csv(new, index=False)
