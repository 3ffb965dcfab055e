"""The network and the recursion compute what the reference implementation recorded, in float64."""
import json

import pytest
import torch
from safetensors import safe_open

from trm_nbdev.network import TinyNetwork
from trm_nbdev.recursion import deep_recursion
from trm_nbdev.supervision import stablemax_cross_entropy

def recording(root, name):
    path = root.parent/'shared'/'reference'/f'{name}.safetensors'
    if not path.is_file(): pytest.skip('the reference vectors lie beside the checkout, in shared/reference, and are not there')
    with safe_open(path, 'pt') as f: return json.loads(f.metadata()['config']), {k: f.get_tensor(k) for k in f.keys()}

def network(config, tensors):
    "Our network with the recorded weights."
    L, D = config['seq_len'] + config['puzzle_emb_len'], config['hidden_size']
    net = TinyNetwork(L, D, config['L_layers'], 'mlp' if config['mlp_t'] else 'attention', config['num_heads'], config['expansion']).double()
    with torch.no_grad():
        for i, (mixer, mlp) in enumerate(net.blocks):
            inner = mixer.f.f if config['mlp_t'] else mixer.f
            parts = [(mlp.f.gate_up, 'mlp.gate_up_proj'), (mlp.f.down, 'mlp.down_proj')]
            parts += [(inner.gate_up, 'mlp_t.gate_up_proj'), (inner.down, 'mlp_t.down_proj')] if config['mlp_t'] else [(inner.qkv, 'self_attn.qkv_proj'), (inner.out, 'self_attn.o_proj')]
            for ours, theirs in parts: ours.weight.copy_(tensors[f'init.inner.L_level.layers.{i}.{theirs}.weight'])
    return net

def question(config, tensors, batch):
    "Their embedded question: the puzzle's vector in the first of the prefix positions, then the tokens, scaled by the root of D."
    D, tokens = config['hidden_size'], tensors[f'{batch}.inputs'].long()
    puzzle = tensors['init.inner.puzzle_emb.weights'][tensors[f'{batch}.puzzle_identifiers'].long()]
    prefix = torch.zeros(len(tokens), config['puzzle_emb_len'], D, dtype=torch.float64)
    prefix[:, 0] = puzzle
    return torch.cat([prefix, tensors['init.inner.embed_tokens.embedding_weight'][tokens]], 1)*D**.5

@pytest.mark.parametrize('name', ['trm_mlp', 'trm_att'])
def test_two_supervision_steps_equal_the_recorded_ones(root, name):
    config, t = recording(root, name)
    net, x = network(config, t), question(config, t, 'eval.batch')
    for module in net.modules():
        if hasattr(module, 'rope'): module.rope = rope_in_double(module.rope)
    y, z = (t[f'init.inner.{k}_init'].expand_as(x) for k in 'HL')
    for step in range(2):
        with torch.no_grad(): y, z = deep_recursion(net, x, y, z, config['L_cycles'], config['H_cycles'])
        logits = y[:, config['puzzle_emb_len']:] @ t['init.inner.lm_head.weight'].T
        q = y[:, 0] @ t['init.inner.q_head.weight'][0] + t['init.inner.q_head.bias'][0]
        assert (logits - t[f'eval.step{step}.logits']).abs().max() < 1e-8
        assert (q - t[f'eval.step{step}.q_halt_logits']).abs().max() < 1e-8

def rope_in_double(table):
    "The same rotations, computed in float64."
    from trm_nbdev.network import rope_table
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try: return rope_table(*table.shape[1:])
    finally: torch.set_default_dtype(before)

@pytest.mark.parametrize('name', ['trm_mlp', 'trm_att'])
def test_loss_and_gradients_of_a_step_equal_the_recorded_ones(root, name):
    config, t = recording(root, name)
    net, x, labels = network(config, t), question(config, t, 'step0.batch'), t['step0.batch.labels'].long()
    for module in net.modules():
        if hasattr(module, 'rope'): module.rope = rope_in_double(module.rope)
    y, z = (t[f'init.inner.{k}_init'].expand_as(x) for k in 'HL')
    y, _ = deep_recursion(net, x, y, z, config['L_cycles'], config['H_cycles'])
    logits = y[:, config['puzzle_emb_len']:] @ t['init.inner.lm_head.weight'].T
    loss = stablemax_cross_entropy(logits, labels).sum()
    assert abs(loss - t['step0.lm_loss']) < 1e-8
    q = y[:, 0] @ t['init.inner.q_head.weight'].T + t['init.inner.q_head.bias']
    right = ((logits.argmax(-1) == labels) | (labels == -100)).all(-1).double()
    halting = torch.nn.functional.binary_cross_entropy_with_logits(q[:, 0], right, reduction='sum')
    ((loss + .5*halting)/config['batch_size']).backward()
    theirs = t['step0.grad.inner.L_level.layers.0.mlp.down_proj.weight']
    assert (net.blocks[0][1].f.down.weight.grad - theirs).abs().max() < 1e-8*max(1, theirs.abs().max())
