"""Several seeds of one model trained at once, as a stack, on this machine's GPU or CPU:

python tools/stack.py FILE [SECONDS]
    Time training steps of one seed and of five, with the MLP and with attention: plain, compiled, and where there is a
    GPU also as a CUDA graph, which launches all operations of a step at once. Each form is measured in a process of its
    own, for some seconds (default: 2). One line a form goes to FILE, a CSV.

A step here is simpler than in a training: every puzzle begins afresh, and nothing is averaged. So compare the forms
with each other only. The model has 64 channels and 36 cells, without positions in front, T=3 and n=6. All seeds see the
same batch of 64 random puzzles, which are their own answers. A single seed is a stack of one, and its weights are taken
out of the stack in each step, which costs it a little.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from tqdm import tqdm

from trm_nbdev.engine.bench import fresh_processes, per_second
from trm_nbdev.model import TRM, TRMConfig
from trm_nbdev.supervision import halting_loss, solved, stablemax_cross_entropy

BATCH, SMALL = 64, TRMConfig(vocab_size=9, seq_len=36, hidden_size=64, heads=2, multiple=16)
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
FORMS = ('plain', 'compiled', 'graph', 'compiled graph') if DEVICE == 'cuda' else ('plain', 'compiled')


def model_of(config: TRMConfig, seed: int) -> TRM:
    torch.manual_seed(seed)
    return TRM(config).to(DEVICE)


def loss_of(base: TRM, stacked: bool) -> Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]:
    "Weights and buffers, with an axis of seeds in front -> the sum of the seeds' losses."
    config = base.config
    tokens = torch.randint(1, config.vocab_size, (BATCH, config.seq_len), device=DEVICE)
    question = tokens, base.initial(BATCH), tokens[:, 0] * 0

    def one(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        _, logits, q = functional_call(base, (weights, buffers), question, dict(n=config.n, T=config.T))
        right = solved(logits.detach(), tokens)
        return stablemax_cross_entropy(logits, tokens).mean() + 0.5 * halting_loss(q, right)

    if stacked:
        return lambda weights, buffers: vmap(one)(weights, buffers).sum()
    return lambda weights, buffers: one(*({name: v[0] for name, v in part.items()} for part in (weights, buffers)))


def training_step(config: TRMConfig, seeds: int, compiled: bool) -> Callable[[], Tensor]:
    "A step that can be captured as a CUDA graph; it returns the loss."
    models: list[nn.Module] = [model_of(config, seed) for seed in range(seeds)]
    weights, buffers = stack_module_state(models)
    loss = loss_of(model_of(config, 0), seeds > 1)
    if compiled:
        loss = torch.compile(loss, dynamic=False)
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-4, fused=True, capturable=DEVICE == 'cuda')

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        value = loss(weights, buffers)
        value.backward()
        optimizer.step()
        return value

    return step


def as_graph(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    "The step as one CUDA graph; warmed up on a stream of its own, as PyTorch's manual asks."
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = step()

    def replay() -> Tensor:
        graph.replay()
        return value

    return replay


def rate(mixer: str, seeds: int, form: str, seconds: float) -> float:
    "Samples per second, of all seeds together, on one thread."
    torch.set_num_threads(1)
    step = training_step(replace(SMALL, mixer=mixer), seeds, 'compiled' in form)
    if 'graph' in form:
        step = as_graph(step)
    return seeds * BATCH * per_second(lambda: step().item(), seconds)


def main(file: str, seconds: float) -> None:
    about, rows = torch.cuda.get_device_name() if DEVICE == 'cuda' else 'cpu', []
    for case in tqdm([*product(('mlp', 'attention'), (1, 5), FORMS)], desc='forms'):
        with fresh_processes(1) as pool:
            found = dict(zip(('mixer', 'seeds', 'form'), case, strict=True))
            try:
                found['samples_s'] = round(pool.submit(rate, *case, seconds).result(), 1)
            except Exception as e:  # a form that this version of PyTorch cannot make
                found['error'] = str(e).split('\n')[0]
            rows.append(found | dict(device=about, torch=torch.__version__))
            pd.DataFrame(rows).to_csv(Path(file), index=False)


if __name__ == '__main__':
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) == 3 else 2.0)
