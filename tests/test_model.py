"What a configuration refuses, and what the chapter on the model promises of every kind of model."

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trm_nbdev import network
from trm_nbdev.baselines import VARIANTS
from trm_nbdev.engine.memory import dummy_step, training_memory
from trm_nbdev.model import TRM, Question, TRMConfig, cost, n_parameters

SUDOKU = TRMConfig(vocab_size=11, seq_len=81)
SMALL = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n_sup=4)


@pytest.mark.parametrize(
    'field, value',
    [
        ('n', 0),
        ('T', 0),
        ('n_sup', -1),
        ('heads', 0),
        ('hidden_size', 20.5),
        ('layers', True),
        ('mixer', 'convolution'),
        ('gradient', 'none'),
        ('dtype', 'int8'),
        ('expansion', 0),
        ('expansion', float('nan')),
        ('features', 'z'),
        ('answer_layers', -1),
        ('positions', 'sine'),
        ('halting', 'never'),
        ('puzzle_emb_len', -1),
        ('puzzle_emb_ndim', 512),
        ('num_puzzle_identifiers', 0),
    ],
)
def test_a_bad_value_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f'{field} is {value!r}.*expected'):
        replace(SUDOKU, **{field: value})


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(mixer='attention', heads=3), 'expected hidden_size to be a multiple of 6'),
        (dict(mixer='attention', heads=512), 'expected hidden_size to be a multiple of 1024'),
        (dict(mixer='attention', heads=3, positions='none'), 'expected hidden_size to be a multiple of 3'),
        (dict(puzzle_emb_len=1), r'puzzle_emb_len 1, expected both 0, or an embedding that fits into 1\*512 numbers'),
        (dict(puzzle_emb_len=1, puzzle_emb_ndim=513), r'puzzle_emb_ndim is 513 .* fits into 1\*512 numbers'),
        (dict(features='y'), 'n, T, answer_layers are 6, 3, 0, expected 0, 1, 0 for features y'),
        (dict(features='y', n=0), 'are 0, 3, 0, expected'),
        (dict(features='y', n=0, T=1, answer_layers=2), 'are 0, 1, 2, expected'),
        (dict(features='single-z', gradient='one-step'), "gradient is 'one-step' .* expected the full gradient"),
        (dict(features='single-z', n=0), 'n is 0 .* expected at least one latent update'),
    ],
)
def test_values_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SUDOKU, **changes)


def test_a_question_of_another_size_or_without_identifiers_is_refused():
    tokens = torch.ones(5, 36, dtype=torch.long)
    with pytest.raises(ValueError, match=r'tokens have shape \(5, 35\), expected \(batch, 36\)'):
        Question(SMALL)(tokens[:, :35])
    with pytest.raises(ValueError, match='expected the identifiers of the puzzles'):
        Question(replace(SMALL, puzzle_emb_ndim=16, puzzle_emb_len=1))(tokens)


@pytest.mark.parametrize('name', VARIANTS)
def test_depth_and_passes_are_those_of_the_model(name):
    "Counted on a training step: passes of the model, and layers in each."
    config = replace(SMALL, n_sup=4) if name == 'Direct pred' else SMALL
    config = replace(config, **VARIANTS[name])
    model, passes, layers = TRM(config), [], []
    model.register_forward_hook(lambda *_: passes.append(1))
    for net in filter(None, (model.net, model.answer_net)):
        for block in net.blocks:
            block.register_forward_hook(lambda *_: layers.append(1))
    dummy_step(model, 1)
    assert (
        (len(layers) // len(passes), len(passes))
        == (config.depth, config.nfp)
        == (cost(config).depth, cost(config).nfp)
    )


def test_puzzle_embeddings_are_counted_apart():
    config = replace(SMALL, num_puzzle_identifiers=100, puzzle_emb_ndim=16, puzzle_emb_len=2)
    model = TRM(config)
    assert cost(config).puzzle_parameters == model.embed.puzzles.weight.numel() == 1600
    assert cost(config).parameters == n_parameters(model) == sum(p.numel() for p in model.parameters()) - 1600


def test_the_initial_state_is_saved_but_not_trained():
    model = TRM(SMALL)
    assert 'state0' in model.state_dict() and 'state0' not in dict(model.named_parameters())
    y, z = model.initial(2)
    assert torch.equal(y[0, 0], y[1, 35]) and not torch.equal(y, z)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float64'])
def test_weights_are_float32_or_float64(dtype):
    model = TRM(replace(SMALL, dtype=dtype))
    assert {w.dtype for w in model.state_dict().values()} == {torch.float64 if dtype == 'float64' else torch.float32}
    assert torch.get_default_dtype() == torch.float32


def test_memory_without_gradient_is_not_counted():
    "The first T-1 latent recursions leave nothing behind."
    assert training_memory(replace(SMALL, T=2), 8) == training_memory(replace(SMALL, T=5), 8)
    assert training_memory(replace(SMALL, n=12), 8) > 1.5 * training_memory(SMALL, 8)


@pytest.mark.parametrize('changes', [*VARIANTS.values(), dict(puzzle_emb_ndim=16, puzzle_emb_len=2)], ids=str)
def test_memory_is_counted_of_every_kind_and_less_is_kept_with_recompute(changes):
    config = replace(SMALL, **changes)
    assert 0 < training_memory(config, 8, recompute=True) <= training_memory(config, 8)


class Products(TorchDispatchMode):
    "Sees the types of all matrix products, also those of the backward pass."

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm):
            self.types.add(args[-1].dtype)
        return op(*args, **kwargs or {})


@pytest.mark.parametrize('changes', [{}, dict(mixer='attention'), dict(halting='q-learning')], ids=str)
def test_bfloat16_products_in_float32_are_the_same_products(monkeypatch, changes):
    "Whatever this CPU is good at, both ways are tried."
    torch.manual_seed(0)
    model = TRM(replace(SMALL, n=1, T=1, **changes))
    tokens = torch.randint(1, 8, (16, 36), generator=torch.Generator().manual_seed(0))

    def gradients():
        _, logits, q = model(tokens, model.initial(16), tokens[:, 0] * 0, n=1, T=1)
        weights = [w for w in model.parameters() if w.requires_grad]
        return [logits, *torch.autograd.grad(logits.float().square().sum() + q.square().sum(), weights)]

    found = []
    for slow in (False, True):
        monkeypatch.setattr(network, 'SLOW_BFLOAT16', slow)
        with Products() as products:
            found.append(gradients())
        assert products.types == {torch.float32 if slow else torch.bfloat16}
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype and (a - b).norm() <= 0.03 * a.norm()


def test_pytorch_without_onednn_has_no_fast_bfloat16_products(monkeypatch):
    monkeypatch.setattr(torch.ops, 'mkldnn', SimpleNamespace())
    assert not network.has_bfloat16_products()
    monkeypatch.setattr(torch.ops, 'mkldnn', SimpleNamespace(_is_mkldnn_bf16_supported=lambda: True))
    assert network.has_bfloat16_products()
