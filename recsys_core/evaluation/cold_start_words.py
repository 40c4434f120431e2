"""What a cold-start comparison comes to, in plain sentences, made of its result (`jobs/cold_start_spec.py`) alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FEW = 30  # users below which intervals are wide
TELLING = 3  # items shown, whose worth is told, where that many are shown
NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
Result = Mapping[str, Any]


def protocol(result: Result) -> list[str]:
    """How it was measured."""
    pool, k, draws = max(result["shots"]), result["k"], result["draws"]
    if result["order"] == "random":
        how = "drawn by lot, the same lots for every recommender" + (f", and the figures of {draws} draws averaged" if draws > 1 else "")
        about = "So what is shown is as typical of a user as any other of their items; the first steps of a real user may be less so."
    else:
        how = "the oldest ones (lots decide between equal times)"
        about = "So what must be found came later than what is shown, as it does in use."
    return [
        f"{result['n_users']:,} users kept out of training, each with more than {_items(pool)} that count as relevant.",
        f"Of each, {'one item is' if pool == 1 else f'{pool} items are'} set aside to be shown, {how}. {about}",
        "All their other relevant items must be found: the same ones however many are shown.",
        f"Lists of {k} from the whole catalogue without what was set aside; what a user had and did not like stays in, as a miss.",
        "Intervals are 95 % bootstrap intervals over users; differences are paired, and corrected for all numbers of items.",
    ]


def notes(result: Result) -> list[str]:
    """What to keep in mind."""
    found = []
    pool, models = max(result["shots"]), result["models"]
    if result["n_users"] < FEW:
        found.append(f"Only {result['n_users']} users could be measured: the intervals are wide, and only large differences can be seen.")
    if result["left_out"]:
        who = "1 user is" if result["left_out"] == 1 else f"{result['left_out']:,} users are"
        found.append(f"{who} left out: with {pool} or fewer relevant items nothing would be left to find.")
    if result["sampled_from"]:
        found.append(f"A random part of the users was measured: {result['n_users']:,} of {result['sampled_from']:,}.")
    found += [f"'{one['name']}' is left out: {one['why']}" for one in result["missing"]]
    if 0 in result["shots"] and any(not one["adapts"] for one in models):
        found.append(
            "Before the first item, recommenders that do not adapt show the most popular items, or what the table of users suggests."
        )
    several = [words for role, words in (("meta", "the best that adapts"), ("fold_in", "the best fold-in")) if _count(models, role) > 1]
    if several:
        found.append(f"Which is {' and which is '.join(several)} was found on these same users, which flatters it a little.")
    return found


def verdicts(result: Result) -> list[str]:
    """Who is clearly better after how many items, what adapting gives, what items are worth, and whether meta-learning pays."""
    best = champion(result)
    if best is None:
        judged = {one["run"] for one in result["comparisons"]}
        own = next((one for one in result["models"] if one["run"] in judged), None)
        told = [] if own is None else _against(result, own)
        return [*told, "No recommender that adapts is among these: train one with this split to see whether meta-learning pays."]
    found = [*_against(result, best), *_gain(best), *_worth(result, best)]
    open_ = "No meta-learner is among these: train one with this split to see whether meta-learning pays."
    return [*found, pays(result, best["run"]) if best["role"] == "meta" else open_]


def champion(result: Result) -> dict[str, Any] | None:
    """The best recommender that adapts, meta-learnt if there is one; None where none adapts."""
    for role in ("meta", "fine_tuned"):
        for one in result["models"]:
            if one["role"] == role and one["adapts"]:
                return one
    return None


def pays(result: Result, run: str) -> str:
    """For the card of a run: whether meta-learning pays on this data, or a fold-in is as good. "" where the comparison cannot tell."""
    own = next((one for one in result["models"] if one["run"] == run), None)
    if own is None:
        return ""
    if own["role"] == "fold_in":
        return _beside_adapting(result, own)
    if own["role"] != "meta":
        return ""
    rows = [row for row in result["comparisons"] if row["run"] == run and row["role"] == "fold_in" and row["shots"] > 0]
    if not rows:
        return "Whether meta-learning pays here is open: no recommender that folds in was measured beside it."
    better, worse, open_ = _sorted(rows)
    names = _listed(list(dict.fromkeys(_name(result, row["against"]) for row in rows)))
    if not better and not worse:
        return f"The fold-in of {names} is as good here: meta-learning does not pay on this data, as far as {_users(result)} can tell."
    if not better:
        return f"The fold-in of {names} is better here {_after(worse, rows)}: meta-learning does not pay on this data."
    if not worse:
        rest = f"; {_after(open_, rows)} the fold-in is as good" if open_ else ""
        return f"Meta-learning pays on this data {_after(better, rows)}, against the fold-in of {names}{rest}.{_popular(result, better)}"
    rest = f", {_after(open_, rows)} it is as good" if open_ else ""
    text = f"Meta-learning pays on this data {_after(better, rows)}; {_after(worse, rows)} the fold-in of {names} is better{rest}."
    return text + _popular(result, better)


def worth(shots: Sequence[int], means: Sequence[float], value: float) -> float:
    """The number of items after which a curve first reaches a value, between its points by a straight line.

    0 where it starts there, infinity where it never does.
    """
    if means[0] >= value:
        return float(shots[0])
    for s, t, a, b in zip(shots, shots[1:], means, means[1:], strict=False):
        if a < value <= b:
            return s + (t - s) * (value - a) / (b - a)
    return float("inf")


def rating_definition(scaled: bool) -> str:
    """What the figures of `cold_start_rating` are."""
    gains = "2^rating − 1, ratings brought to 0 to 5 first" if scaled else "2^rating − 1"
    return (
        "Ten items the user rated, liked or not, none of them shown, are put in the order of the scores. Precision@5: the share of the "
        f"first five that the user liked. NDCG@5: their discounted gain ({gains}), divided by that of the best order. Chance is what a "
        "random order comes to, worked out exactly. It says nothing of finding items in the catalogue."
    )


def _against(result: Result, own: Mapping[str, Any]) -> list[str]:
    """One sentence for every role it was compared with."""
    found = []
    for role in ("fold_in", "fine_tuned", "content", "popular"):
        rows = [row for row in result["comparisons"] if row["run"] == own["run"] and row["role"] == role]
        if not rows:
            continue
        better, worse, open_ = _sorted(rows)
        parts = [f"better {_after(better, rows)} (by {_share(better[0])}{_at(better[0], better)})"] if better else []
        parts += [f"worse {_after(worse, rows)} (by {_share(worse[-1])}{_at(worse[-1], worse)})"] if worse else []
        parts += [f"no clear difference {_after(open_, rows).replace('every', 'any')}"] if open_ else []
        found.append(f"{own['name']} against {_opponents(result, role, rows)}: {', '.join(parts)}.")
    return found


def _opponents(result: Result, role: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Who stood for a role, where the best of them changes from one number of items to the next."""
    of: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        of.setdefault(row["against"], []).append(row)
    if len(of) == 1:
        who = _name(result, rows[0]["against"])
    else:
        who = "; ".join(f"{_name(result, run)} {_after(some)}" for run, some in of.items())
    before = {"fold_in": "the best fold-in", "fine_tuned": "the same network without meta-learning"}.get(role)
    return who if before is None else f"{before} ({who})"


def _gain(own: Mapping[str, Any]) -> list[str]:
    """What adapting gives, after the number of items that tells most."""
    rows = [row for row in own["gain"] or [] if row["shots"] > 0]
    if not rows:
        return []
    better, worse, open_ = _sorted(rows)
    parts = []
    for some, word in ((better, "better"), (worse, "worse")):
        if some:
            last = some[-1]
            parts.append(f"{word} {_after(some, rows)} than without (by {_share(last)}{_at(last, some)})")
    parts += [f"no clear difference {_after(open_, rows).replace('every', 'any')}"] if open_ else []
    return [f"What adapting gives {own['name']}: {', '.join(parts)}."]


def _worth(result: Result, own: Mapping[str, Any]) -> list[str]:
    """ "Three items with A are worth about as many as 5.2 with B": B the best fold-in."""
    other = next((one for one in result["models"] if one["role"] == "fold_in"), None)
    positive = [s for s in result["shots"] if s > 0]
    if other is None or len(positive) < 2:
        return []
    s = TELLING if TELLING in positive else positive[0]
    value = next(point["mean"] for point in own["curve"] if point["shots"] == s)
    means = [point["mean"] for point in other["curve"]]
    equal = worth(result["shots"], means, value)
    what = f"{NUMBERS[s] if s < len(NUMBERS) else s} {'item' if s == 1 else 'items'} with {own['name']} {'is' if s == 1 else 'are'} worth"
    if equal == float("inf"):
        return [f"{what} more than {max(result['shots'])} with {other['name']}."]
    if equal == result["shots"][0]:
        return [f"{what} no more than {_few(result['shots'][0])} with {other['name']}."]
    rows = [row for row in result["comparisons"] if (row["run"], row["against"], row["shots"]) == (own["run"], other["run"], s)]
    unsure = f", though the difference after {s} is not clear" if rows and rows[0]["better"] is None else ""
    return [f"{what} about as many as {f'{equal:.1f}'.removesuffix('.0')} with {other['name']}{unsure}."]


def _popular(result: Result, better: Sequence[Mapping[str, Any]]) -> str:
    """Where a run beats the fold-ins, but not what everybody gets: a fold-in knows little after a single item."""
    where = {(row["run"], row["shots"]) for row in better}
    same = [r for r in result["comparisons"] if r["role"] == "popular" and (r["run"], r["shots"]) in where and not r["better"]]
    if not same:
        return ""
    who = _name(result, same[0]["against"])
    return f" But {_after(same)} it is not clearly better than the same list for everybody ({who})."


def _beside_adapting(result: Result, own: Mapping[str, Any]) -> str:
    """Of a fold-in: how it stands beside the best recommender that adapts."""
    best = champion(result)
    if best is None:
        return ""
    rows = [row for row in result["comparisons"] if row["run"] == best["run"] and row["against"] == own["run"] and row["shots"] > 0]
    if not rows:
        return ""
    better, worse, open_ = _sorted(rows)  # seen from the one that adapts
    parts = [f"better {_after(worse, rows)}"] if worse else []
    parts += [f"as good {_after(open_, rows)}"] if open_ else []
    parts += [f"worse {_after(better, rows)}"] if better else []
    return f"New users are served by its fold-in, beside {best['name']}, which adapts: {', '.join(parts)}."


def _sorted(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[Any], list[Any]]:
    """(clearly better, clearly worse, neither)."""
    return tuple([row for row in rows if row["better"] is wanted] for wanted in (True, False, None))


def _at(row: Mapping[str, Any], among: Sequence[Any]) -> str:
    return "" if len(among) == 1 else f" after {row['shots']}" if row["shots"] else " before the first"


def _share(row: Mapping[str, Any]) -> str:
    """In percent of the other's mean, with the interval, without a sign; in NDCG where the other has none."""
    values = [row["mean"], row["low"], row["high"]]
    if row["mean"] < 0:
        values = [-row["mean"], -row["high"], -row["low"]]
    if row["relative"]:
        factor = 100 * abs(row["relative"] / row["mean"])
        return "{:.1f} % ({:.1f} to {:.1f})".format(*(factor * value for value in values))
    return "{:.4f} NDCG ({:.4f} to {:.4f})".format(*values)


def _after(some: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]] = ()) -> str:
    """After 1, 2 and 3 items; before the first item; from 3 items on. rows: all there are, in the order of items."""
    shots = [row["shots"] for row in some]
    if len(rows) > 1 and len(some) == len(rows):
        return "at every number of items"
    if len(some) > 1 and shots == [row["shots"] for row in rows[-len(some) :]]:
        return f"from {_items(shots[0])} on"
    first = ["before the first item"] if 0 in shots else []
    rest = [s for s in shots if s]
    if rest:
        first.append(f"after {_listed([str(s) for s in rest])} {'item' if rest == [1] else 'items'}")
    return " and ".join(first)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _name(result: Result, run: str) -> str:
    return next(one["name"] for one in result["models"] if one["run"] == run)


def _count(models: Sequence[Mapping[str, Any]], role: str) -> int:
    return sum(one["role"] == role for one in models)


def _users(result: Result) -> str:
    return f"{result['n_users']:,} users"


def _items(n: int) -> str:
    return "1 item" if n == 1 else f"{n} items"


def _few(n: int) -> str:
    return "none" if n == 0 else str(n)
