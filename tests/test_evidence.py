"The verdicts: computed once more with other code, and what the rule does where there is nothing to find."

import json
import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from conftest import ROOT
from scipy import stats
from statsmodels.stats.multitest import multipletests

from trm_nbdev.baselines import BASE, ROWS, benchmark_of
from trm_nbdev.engine.evidence import WORDS, Claim, holm, judge, ratio_of, reach, sentence
from trm_nbdev.engine.runs import every_seed, whole_records
from trm_nbdev.engine.tables import CLAIMS

BUDGET = 102_400


@pytest.fixture(autouse=True)
def _no_garbage_collection(monkeypatch):
    "statsmodels' Holm collects garbage each time, which takes most of a second."
    monkeypatch.setattr('gc.collect', lambda *_: 0)


def training(at, seed, power=8, key=None):
    "A record, as far as verdicts read it: half of the validation puzzles are solved after about `at` samples."
    samples = np.linspace(BUDGET / 40, BUDGET, 40)
    exact = 1 / (1 + (at / samples) ** power)
    curve = [dict(samples=float(s), valid_exact=float(e)) for s, e in zip(samples, exact, strict=True)]
    results = {weights: dict(exact=float(exact[-1])) for weights in ('ema', 'raw')}
    return dict(key=key or f'{at}', seed=seed, curve=curve, results=results)


def row(rng, middle, seeds=5, spread=0.055):
    return [training(middle * math.exp(spread * rng.standard_normal()), k) for k in range(seeds)]


def table(seed):
    "Rows of all kinds, and claims about all pairs."
    rng = np.random.default_rng(seed)
    middles = dict(a=20_000, b=22_000, c=20_500, d=60_000, late=100_000, later=103_000, floor=300_000)
    rows = {name: row(rng, middle, int(rng.integers(2, 11))) for name, middle in middles.items()}
    rows |= dict(single=row(rng, 20_000, 1), again=rows['a'], none=[])
    for name, of_row in rows.items():  # the end has a place of its own
        base = 0.02 if name == 'floor' else rng.uniform(0.88, 0.95)
        for r in of_row:
            r['results'] = {w: dict(exact=base + 0.008 * rng.standard_normal()) for w in ('ema', 'raw')}
    rows['far seeds'] = [r | dict(seed=k + 8, key=f'far {k}') for k, r in enumerate(row(rng, 20_000, 3))]
    pairs = combinations(rows, 2)
    return rows, [Claim(f'{x}, {y}', x, y, same=bool(rng.random() < 0.2)) for x, y in pairs]


# The rule once more, with other code


def crossing(curve):
    "Samples to half, and whether they were reached, by numpy's interpolation."
    points = [(p['samples'], p['valid_exact']) for p in curve if p['valid_exact'] is not None]
    first = next((k for k, (_, e) in enumerate(points) if e >= 0.5), None)
    if first is None:
        return points[-1][0], False
    if first == 0:
        return points[0][0], True
    (s0, e0), (s1, e1) = points[first - 1 : first + 1]
    return math.exp(np.interp(0.5, [e0, e1], np.log([s0, s1]))), True


def long_form(records, value):
    "One line a training: row, seed, key, value."
    lines = [dict(row=m, seed=r['seed'], key=r['key'], value=value(m, r)) for m, rs in records.items() for r in rs]
    return pd.DataFrame(lines, columns=['row', 'seed', 'key', 'value'])


def floor_rows(records):
    def alive(r):
        return crossing(r['curve'])[1] or max(s['exact'] for s in (r['results']['ema'], r['results']['raw'])) > 0.05

    return {m for m, rs in records.items() if rs and not any(map(alive, rs))}


def again(claims, records, value, censored, margin, spread_without):
    "Words and intervals, by an analysis of variance of all rows that count, and statsmodels' Holm."
    data, floor = long_form(records, value), floor_rows(records)
    counted = data[~data.row.isin({*censored, *spread_without})]
    trainings = counted.groupby('row', sort=False).key.agg(frozenset)
    counted = counted[counted.row.isin(trainings.drop_duplicates().index)]
    counted = counted[counted.groupby('row').value.transform('size') > 1]
    if counted.row.nunique() > 1:
        fit = smf.ols('value ~ C(row)', counted).fit()
        sd, df = math.sqrt(fit.mse_resid), fit.df_resid
    elif len(counted):
        sd, df = counted.value.std(ddof=1), len(counted) - 1
    else:
        sd, df = math.nan, 0
    words, ends, p, p_same, tested = {}, {}, [], [], []
    for c in claims:
        a, b = (data[data.row == m] for m in (c.better, c.worse))
        known = a.value.notna().all() and b.value.notna().all()
        if a.empty or b.empty or not known:
            words[c] = 'not run'
        elif len({*a.seed} & {*b.seed}) < 2:
            words[c] = 'one training'
        elif {c.better, c.worse} & floor:
            words[c] = 'no signal'
        elif {c.better, c.worse} <= {*censored} or not df:
            words[c] = 'undecided'
        else:
            gap = a.value.mean() - b.value.mean()
            error = max(sd, 1e-9) * math.sqrt(1 / len(a) + 1 / len(b))
            ends[c] = stats.t(df, loc=gap, scale=error).interval(0.95)
            favoured = c.better if gap > 0 else c.worse
            t = stats.t(df, loc=0, scale=error)
            p.append(1.0 if favoured in censored else 2 * t.sf(abs(gap)))
            one_sided = max(t.sf(gap + margin), t.cdf(gap - margin))  # below -margin, above +margin
            p_same.append(1.0 if {c.better, c.worse} & {*censored} else one_sided)
            tested.append((c, gap))
    if tested:
        differs, same = (multipletests(x, alpha=0.05, method='holm')[1] < 0.05 for x in (p, p_same))
        for (c, gap), d, s in zip(tested, differs, same, strict=True):
            better = 'holds' if gap > 0 and not c.same else 'reversed'
            words[c] = better if d else ('holds' if c.same else 'equivalent') if s else 'undecided'
    return [words[c] for c in claims], [ends.get(c) for c in claims]


def words_again(claims, records):
    "By samples, and by the final share with averaged weights."

    def kind(m):
        return 'raw' if m.startswith('no EMA') else 'ema'

    def logarithm(m, r):
        field = {'ema': 'valid_exact', 'raw': 'valid_exact_raw'}[kind(m)]
        curve = [dict(samples=p['samples'], valid_exact=p.get(field)) for p in r['curve']]
        return -math.log(crossing(curve)[0]) if any(p['valid_exact'] is not None for p in curve) else math.nan

    def censored(m, r):
        return not math.isnan(logarithm(m, r)) and kind(m) == 'ema' and not crossing(r['curve'])[1]

    late = {m for m, rs in records.items() if any(censored(m, r) for r in rs)}
    unknown = {m for m, rs in records.items() if any(math.isnan(logarithm(m, r)) for r in rs)}
    share = again(claims, records, lambda m, r: 100 * r['results'][kind(m)]['exact'], (), 2, floor_rows(records))
    return again(claims, records, logarithm, late, math.log(1.2), unknown), share


def same_words(claims, records):
    found, said = judge(claims, records), set()
    for measure, (words, ends) in zip(('samples', 'averaged'), words_again(claims, records), strict=True):
        verdicts = [getattr(f, measure) for f in found]
        assert [v.word for v in verdicts] == words
        assert [v[2:] for v, e in zip(verdicts, ends, strict=True) if e] == [pytest.approx(e) for e in ends if e]
        said |= {*words}
    return said


def test_made_up_tables_are_judged_alike_by_other_code_and_every_word_is_said():
    said = set()
    for seed in range(8):
        records, claims = table(seed)
        said |= same_words(claims, records)
    assert said == {*WORDS}


@pytest.mark.parametrize('censored, bound', [('early', 'at most'), ('late', 'at least'), ('', '')])
@pytest.mark.parametrize('turned', [False, True])
def test_a_sentence_bounds_the_ratio_on_the_right_side(censored, bound, turned):
    "A censored seed makes the mean of its row a lower bound. Whatever is claimed, the sentence names the sooner row."
    rows = dict(early=[training(60_000 + 1000 * k, k) for k in range(5)])
    rows['late'] = [training(85_000 + 2000 * k, 10 + k) for k in range(5)]
    if censored:
        rows[censored][4] = training(200_000, 30)
    claim = Claim('one learns sooner', *(('late', 'early') if turned else ('early', 'late')))
    (finding,) = judge([claim], rows)
    text = sentence(finding, rows)
    assert 'early learns ' in text and f'early learns {bound} '.replace('  ', ' ') in text
    assert ('at most' in text, 'at least' in text) == (bound == 'at most', bound == 'at least')


def recorded_tables():
    for folder in ('quick', 'laptop'):
        for name, rows in ROWS.items():
            out, benchmark = ROOT / 'results' / folder, benchmark_of(name)
            yield name, every_seed(rows, folder, 'built-in', out, benchmark)


def test_recorded_tables_are_judged_alike_by_other_code():
    judged = 0
    for name, records in recorded_tables():
        same_words(CLAIMS[name], records)
        judged += len(records)
    assert judged


def entries():
    "The recorded trainings of several seeds that differ in nothing but the seed, such as entries of the speedrun."
    groups = {}
    for folder in ('quick', 'laptop'):
        for r in whole_records(ROOT / 'results' / folder):
            content = json.dumps([folder, r['data'], r['model'], r['how']], sort_keys=True)
            groups.setdefault(content, []).append(r)
    return {content: rs for content, rs in groups.items() if len(rs) > 1}


def test_recorded_entries_of_the_speedrun_are_judged_alike_by_other_code():
    groups = entries()
    by_data = {}
    for content, records in groups.items():
        by_data.setdefault((json.loads(content)[0], records[0]['data']['name']), {})[content] = records
    said = set()
    for rows in by_data.values():
        said |= same_words([Claim(f'{k}', x, y) for k, (x, y) in enumerate(combinations(rows, 2))], rows)
    assert {'holds', 'reversed', 'undecided'} <= said


def test_two_rows_alone_are_a_plain_t_test():
    rng = np.random.default_rng(3)
    rows = dict(a=row(rng, 20_000), b=row(rng, 21_500, 7))
    a, b = (np.log([crossing(r['curve'])[0] for r in rows[m]]) for m in 'ab')
    (found,) = judge([Claim('', 'a', 'b')], rows)
    test = stats.ttest_ind(b, a)
    low, high = test.confidence_interval(0.95)
    assert (found.samples.low, found.samples.high) == pytest.approx((low, high))
    assert found.samples.word == ('holds' if test.pvalue < 0.05 else found.samples.word)
    assert float(ratio_of(found, rows).ratio) == pytest.approx(
        stats.gmean(np.exp(b)) / stats.gmean(np.exp(a)), abs=0.01
    )


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(4)
    for n in range(1, 12):
        p = rng.random(n) ** 3
        assert holm(p) == pytest.approx(multipletests(p, method='holm')[1])


def test_where_half_is_reached_is_what_numpy_interpolates():
    rng = np.random.default_rng(5)
    for _ in range(100):
        curve = [dict(samples=640 * k, valid_exact=e) for k, e in enumerate(rng.random(8) * rng.random() * 1.5, 1)]
        curve[int(rng.integers(8))]['valid_exact'] = None
        assert reach(curve) == pytest.approx(crossing(curve)), curve


# Where there is nothing to find


def decided_null_pairs(records, name, claims, rng, pairs=200):
    """How many splits of one row into two halves are decided, the pair being judged as one of a table's claims:
    the first half has the row's place, and the second half is said to learn later."""
    decided = 0
    for _ in range(pairs):
        shuffled = [records[name][k] for k in rng.permutation(10)]
        halves = {name: shuffled[:5], 'the other half': shuffled[5:]}
        split = records | {m: [r | dict(seed=k) for k, r in enumerate(rs)] for m, rs in halves.items()}
        found = judge([Claim('null', name, 'the other half'), *claims], split)[0]
        decided += found.samples.word in ('holds', 'reversed')
    return decided / pairs


def test_a_rule_at_five_per_cent_decides_five_per_cent_of_null_pairs():
    rng, decided = np.random.default_rng(6), []
    for _ in range(1000):
        ten = row(rng, 30_000, 10)
        halves = dict(a=ten[:5], b=[r | dict(seed=k) for k, r in enumerate(ten[5:])])
        decided.append(judge([Claim('null', 'a', 'b')], halves)[0].samples.word in ('holds', 'reversed'))
    assert 0.03 <= np.mean(decided) <= 0.07


def test_null_pairs_in_a_made_up_table():
    rng = np.random.default_rng(7)
    records = {BASE: row(rng, 30_000, 10)} | {f'row {k}': row(rng, 30_000 + 1500 * k) for k in range(7)}
    claims = [Claim(m, BASE, m) for m in records if m != BASE]
    assert decided_null_pairs(records, BASE, claims, rng) <= 0.05


def test_null_pairs_of_ten_recorded_seeds():
    rng, tried = np.random.default_rng(8), 0
    for name, records in recorded_tables():
        if len(records.get(BASE, [])) >= 10:
            records = {m: rs for m, rs in records.items() if m != 'no EMA'}
            claims = [c for c in CLAIMS[name] if c.worse != 'no EMA']
            assert decided_null_pairs(records, BASE, claims, rng) <= 0.05, name
            tried += 1
    if not tried:
        pytest.skip('no ten seeds of TRM are recorded')


# What has no verdict


def test_a_censored_row_is_never_favoured_and_never_equivalent():
    rng = np.random.default_rng(9)
    for _ in range(30):
        late = row(rng, float(rng.uniform(80_000, 110_000)), spread=0.2)
        rows = dict(a=row(rng, float(rng.uniform(70_000, 99_000))), late=late)
        for claim in (Claim('', 'late', 'a'), Claim('', 'a', 'late'), Claim('', 'a', 'late', same=True)):
            (found,) = judge([claim], rows)
            if not all(reach(r['curve']).reached for r in late) and all(reach(r['curve']).reached for r in rows['a']):
                against = 'reversed' if claim.better == 'late' or claim.same else 'holds'
                assert found.samples.word in (against, 'undecided')
                ratio = ratio_of(found, rows).ratio
                assert ratio.startswith('< ' if claim.better == 'late' else '> ')


def test_averaging_is_judged_by_two_curves_of_the_same_trainings():
    rng = np.random.default_rng(10)
    ten = row(rng, 20_000, 10)
    claim = Claim('averaged weights learn sooner', BASE, 'no EMA')
    (without,) = judge([claim], {BASE: ten, 'no EMA': ten})
    assert without.samples.word == 'not run' and without.raw.word == 'not run'
    for r in ten:
        raw = training(1.4 * reach(r['curve']).taken, r['seed'])['curve']
        for point, other in zip(r['curve'], raw, strict=True):
            point['valid_exact_raw'] = other['valid_exact']
    (found,) = judge([claim], {BASE: ten, 'no EMA': ten})
    assert found.samples.word == 'holds' and float(ratio_of(found, {BASE: ten, 'no EMA': ten}).ratio) == 1.4


def test_no_pair_of_trainings_is_claimed_twice():
    pairs = [(benchmark_of(t), str(ROWS[t][c.better]), str(ROWS[t][c.worse])) for t in CLAIMS for c in CLAIMS[t]]
    assert len({*pairs}) == len(pairs)


# ---- numbers in the answers of experiments, which no verdict covers; if one of these fails, that text is out of date


def recorded(table: str, row: str) -> list[dict]:
    return every_seed({row: ROWS[table][row]}, 'laptop', data='built-in', out=ROOT / 'results' / 'laptop')[row]


def percent(records: list[dict], weights: str = 'ema', step: int = -1) -> np.ndarray:
    return np.array([100 * r['results'][weights]['exact_by_step'][step] for r in records])


def test_ema_says_how_far_averaged_weights_are_ahead():
    runs = recorded('Table 1', BASE)
    ahead = percent(runs) - percent(runs, 'raw')
    low, high = stats.ttest_1samp(ahead, 0).confidence_interval(0.95)
    assert len(runs) == 10 and [*np.round([ahead.min(), ahead.max(), low, high], 1)] == [0.9, 8.8, 1.8, 5.1]
    means = [percent(runs, weights, step).mean() for step in (0, -1) for weights in ('ema', 'raw')]
    assert [*np.round(means, 1)] == [97.7, 91.7, 99.0, 95.6]


def test_fixed_point_says_who_settles():
    trm, one_step = (
        np.sort([np.ravel(r['results']['residuals'])[-1] for r in recorded('Table 1', row)])
        for row in (BASE, 'w/ 1-step gradient')
    )
    assert (trm < 3e-7).sum() == 5 and (one_step < 3e-7).sum() == 1 and (len(trm), len(one_step)) == (10, 5)
    assert round(trm[-1], 4) == 0.0095 and trm[-2] < 0.002


def test_deep_supervision_says_what_a_single_step_does():
    one, sixteen = (recorded('HRM analysis', f'TRM, {how}') for how in ('one supervision step', 'deep supervision'))
    halves = [math.exp(np.mean([math.log(reach(r['curve']).taken) for r in runs])) for runs in (one, sixteen)]
    assert [round(h) for h in halves] == [32_542, 49_587]
    assert [round(percent(runs).mean(), 1) for runs in (one, sixteen)] == [68.5, 86.6] and percent(one).min() == 0
    assert {r['how']['lr'] for r in one} == {8e-3} and {r['how']['lr'] for r in sixteen} == {4e-3}


def test_early_stop_says_what_its_table_says():
    found = pd.read_csv(ROOT / 'results' / 'quick' / 'early_stop.csv').groupby('training steps')
    same, steps, less = (found[name].agg(['min', 'max']) for name in ('same answer %', 'mean steps', 'times less work'))
    assert [*same.loc[1600], *steps.loc[1600]] == [99.7, 99.9, 1.05, 1.13] and [*less.loc[1600].round()] == [8, 11]
    solved = found['solved, early stop %'].agg(['min', 'max'])
    assert {*steps.loc[400]} == {16} and [*solved.loc[400].round()] == [88, 98]


def test_act_says_how_soon_each_rule_learns():
    one_pass, two_passes = (recorded('Table 1', row) for row in (BASE, 'w/ ACT'))
    for share, ratio in ((0.5, 0.88), (0.8, 1.35)):
        means = [np.mean([math.log(reach(r['curve'], share).taken) for r in runs]) for runs in (two_passes, one_pass)]
        assert round(math.exp(means[0] - means[1]), 2) == ratio
    for weights, behind in (('ema', 1.3), ('raw', 7.8)):
        assert round(percent(one_pass, weights).mean() - percent(two_passes, weights).mean(), 1) == behind


def test_sudoku_extreme_says_when_runs_end():
    ends = [r['curve'][-1]['samples'] for r in recorded('Table 1', BASE)]
    assert [round(end, -3) for end in (min(ends), max(ends))] == [46_000, 77_000]
    others = [r for row in ('HRM', 'w/ self-attention') for r in recorded('Table 1', row)]
    assert {r['curve'][-1]['samples'] for r in others} == {BUDGET}


def test_arc_says_what_every_row_solves():
    one_rule = {'Direct pred': 53.8, 'HRM': 23.3, 'TRM-Att (Ours)': 24.3, 'TRM-MLP (Ours)': 20.6}
    two_rules = {'Direct pred': 22.8, 'HRM': 1.1, 'TRM-Att (Ours)': 2.0, 'TRM-MLP (Ours)': 2.2}
    for benchmark, solved in {'ARC-AGI-1': one_rule, 'ARC-AGI-2': two_rules}.items():
        rows = ROWS[f'Table 5, {benchmark}']
        runs = every_seed(rows, 'laptop', 'built-in', ROOT / 'results' / 'laptop', benchmark)
        ends = {row: [100 * r['results']['ema']['exact'] for r in of_row] for row, of_row in runs.items()}
        assert {row: round(np.mean(end), 1) for row, end in ends.items()} == solved
        assert {len(end) for end in ends.values()} == {5}
        assert {r['machine']['device'] for of_row in runs.values() for r in of_row} == {'NVIDIA H100 80GB HBM3'}
        halves = {row: sum(reach(r['curve']).reached for r in of_row) for row, of_row in runs.items()}
        assert [row for row, half in halves.items() if half] == ['Direct pred'] * (benchmark == 'ARC-AGI-1')
        assert halves['Direct pred'] == 2 * (benchmark == 'ARC-AGI-1')


def test_maze_hard_says_where_every_row_ends():
    runs = every_seed(ROWS['Table 4, Maze-Hard'], 'laptop', 'built-in', ROOT / 'results' / 'laptop', 'Maze-Hard')
    ends = {row: (round(percent(of_row).mean(), 1), len(of_row)) for row, of_row in runs.items()}
    assert ends == {'Direct pred': (65.4, 5), 'TRM-Att (Ours)': (84.6, 3), 'TRM-MLP (Ours)': (62.1, 5)}
    assert {(r['data']['side'], r['data']['min_path'], r['machine']['device']) for of in runs.values() for r in of} == {
        (12, 28, 'NVIDIA H100 80GB HBM3')
    }
    direct = [reach(r['curve']) for r in runs['Direct pred']]
    soonest = min(reach(r['curve']).taken for r in runs['TRM-Att (Ours)'])
    assert [sum(half.reached for half in direct), sum(half.taken < soonest for half in direct)] == [4, 2]
    assert [*np.round([percent(runs['Direct pred']).min(), percent(runs['Direct pred']).max()])] == [43, 81]
    found = judge(CLAIMS['Table 4, Maze-Hard'], runs)
    assert [f.raw.word for f in found] == ['holds', 'not run', 'holds']
    raw = {row: percent(of_row, 'raw').mean() for row, of_row in runs.items()}
    ahead = [raw['TRM-Att (Ours)'] - raw[row] for row in ('Direct pred', 'TRM-MLP (Ours)')]
    assert [*np.round(ahead)] == [23, 37]


def test_recursion_depth_says_where_trm_is_ahead_with_raw_weights():
    runs = every_seed(ROWS['Table 3'], 'laptop', 'built-in', ROOT / 'results' / 'laptop')
    found = [f for f in judge(CLAIMS['Table 3'], runs) if f.claim.statement.startswith('At about the same depth')]
    assert [f.raw.word for f in found] == ['holds', 'undecided', 'holds', 'holds', 'undecided']
    assert [f.averaged.word for f in found] == ['holds', *['undecided'] * 4]


def test_recursion_depth_says_how_one_run_fell():
    falls = [[100 * p['valid_exact'] for p in r['curve'][-4:]] for r in recorded('Table 3', 'HRM, k=4, T=4')]
    assert [(round(fall[0]), round(fall[-1])) for fall in falls if fall[-1] < 5] == [(83, 2)]
    for row in ('HRM, k=4, T=4', 'HRM, k=3, T=6'):
        assert {r['machine']['device'] for r in recorded('Table 3', row)} == {'NVIDIA H100 80GB HBM3'}


def test_recursion_depth_says_where_every_row_ends():
    rows = {'k=1, T=1': (99.2, 4e-3), 'k=2, T=2': (84.8, 8e-3), 'k=4, T=4': (87.3, 8e-3), 'k=3, T=6': (89.6, 8e-3)}
    for row, expected in rows.items():
        runs = recorded('Table 3', f'TRM, {row}')
        assert (round(percent(runs).mean(), 1), runs[0]['how']['lr'], len(runs)) == (*expected, 5)
