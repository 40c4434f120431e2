"""The fictional bookshop behind the sample data: its books and its readers.

Everything is invented. Words are chosen per category, so that titles say something about the content;
age, country and plan lean towards some tastes, so that user attributes do too.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

CATEGORIES = {
    "Mystery": "Alibi Locket Cipher Witness Corridor Ledger Confession Footprint Inquest Umbrella Strangers Postcard",
    "Fantasy": "Dragon Crown Grimoire Sorceress Oath Labyrinth Griffin Amulet Prophecy Kingdom Raven Enchanter",
    "Science fiction": "Orbit Android Colony Signal Starship Paradox Nebula Horizon Machine Voyage Satellite Airlock",
    "Romance": "Promise Letter Wedding Kiss Heartbeat Orchard Summer Serenade Ballroom Rendezvous Sonnet Honeymoon",
    "History": "Empire Siege Treaty Revolution Dynasty Expedition Cathedral Archive Frontier Parliament Armada Century",
    "Travel": "Railway Island Caravan Passport Coastline Pilgrimage Ferry Bazaar Compass Highlands Monsoon Lagoon",
    "Cookery": "Kitchen Table Harvest Bakery Supper Spice Garden Market Larder Picnic Vineyard Feast",
    "Science": "Atom Genome Equation Glacier Telescope Instinct Ocean Brain Molecule Volcano Evolution Pendulum",
    "Business": "Strategy Ladder Startup Negotiation Ledger Habit Boardroom Margin Leader Network Bargain Blueprint",
    "Children": "Hedgehog Balloon Puddle Treehouse Kitten Moonbeam Biscuit Pirate Penguin Dinosaur Snowman Wizard",
    "Poetry": "Silence Rain Lantern Window Sparrow Dusk River Ashes Mirror Wildflower Tide Psalm",
    "Thriller": "Hostage Deadline Countdown Informer Vendetta Blackout Assassin Safehouse Betrayal Pursuit Trigger Exile",
    "Art": "Palette Gallery Portrait Sculptor Fresco Colour Studio Sketchbook Mosaic Atelier Photograph Canvas",
    "Nature": "Forest Badger Meadow Falcon Tundra Beehive Moor Otter Reef Willow Heron Fox",
}
ADJECTIVES = (
    "Silent Crimson Hidden Golden Broken Distant Winter Secret Paper Hollow Restless Amber Forgotten Velvet Salt Clockwork "
    "Midnight Northern Burning Glass Quiet Scarlet Borrowed Endless Frozen Ivory Wandering Copper Invisible Last"
)
PLACES = (
    "Harrowmere|Castellane|Port Isolde|Veldhaven|Marrowby|Saint Orla|Kestrel Bay|Ostrava Street|Lindisholm|Grey Harbour|Tamsin Hill|"
    "Ravenna Quay|Eastmarch|Dunmorrow|Alder Lane|Bellweather|Caldera|Winterbourne|Sable Point|Orchard Row|Thornfield Mill|Larkspur"
)
FIRST = (
    "Ada Bram Clara Dmitri Elena Felix Greta Hugo Ines Jonas Kaia Leon Mira Nils Oona Pavel Quinn Rosa Stellan Thea Ursula "
    "Viktor Wren Yusuf Zora"
)
LAST = (
    "Abernathy Bellamy Castellan Duval Eriksen Fairweather Galloway Hartmann Ibarra Jansen Kowal Lindqvist Moreau Novak Okafor "
    "Pryce Quist Rossi Sato Thorne"
)
AGE_BANDS = np.array(["18-24", "25-34", "35-44", "45-54", "55-64", "65+"], dtype=object)
COUNTRIES = np.array(["GB", "US", "DE", "FR", "NL", "SE", "ES", "IT", "PL", "JP"], dtype=object)
PLANS = np.array(["free", "basic", "plus"], dtype=object)
NAMES = np.array(list(CATEGORIES), dtype=object)


def _words(text: str, separator: str | None = None) -> np.ndarray:
    return np.array(text.split(separator), dtype=object)


def item_table(
    rng: np.random.Generator,
    ids: np.ndarray,
    main: np.ndarray,
    second: np.ndarray,
    series: np.ndarray,
    volume: np.ndarray,
    released: np.ndarray,
) -> pd.DataFrame:
    """Books. main, second: category numbers (second -1 for none); series: its number or -1; volume: from 1;
    released: datetime64[D] (n,). A series shares title, author and main category."""
    n = len(ids)
    nouns = np.array([_words(text) for text in CATEGORIES.values()])
    adjectives, places = _words(ADJECTIVES), _words(PLACES, "|")
    kinds = {"adjective": len(adjectives), "noun": nouns.shape[1], "place": len(places), "first": 25, "last": 20, "shape": 4}
    draw = {name: rng.integers(0, size, n) for name, size in kinds.items()}
    leader = np.arange(n)
    in_series = series >= 0
    first_of = np.full(series.max(initial=-1) + 1, n)
    np.minimum.at(first_of, series[in_series], leader[in_series])
    leader[in_series] = first_of[series[in_series]]
    draw["shape"] = np.where(in_series, 1 + 2 * (draw["shape"] % 2), draw["shape"])  # with a place: fewer namesakes
    draw = {name: values[leader] for name, values in draw.items()}
    adjective, noun, place = adjectives[draw["adjective"]], nouns[main[leader], draw["noun"]], places[draw["place"]]
    shapes = [
        "The " + adjective + " " + noun,
        "The " + noun + " of " + place,
        adjective + " " + noun + ", " + place,
        np.where(np.isin(noun.astype("U1"), list("AEIOU")), "An ", "A ").astype(object) + noun + " in " + place,
    ]
    title = pd.Series(np.choose(draw["shape"], shapes))
    # Two books may not share a title: the later one gets its place, then a number.
    ordinal = title[~pd.Series(in_series)].groupby(title).cumcount().reindex(title.index, fill_value=0)
    title = title.where(ordinal == 0, title + " (" + pd.Series(place) + ")")
    title = title.where(~pd.Series(in_series), title + ", book " + pd.Series(volume.astype(str), dtype=object))
    again = title.groupby(title).cumcount() + 1
    title = title.where(again == 1, title + " no. " + again.astype(str))
    category = np.where(second >= 0, NAMES[main] + "|" + NAMES[np.maximum(second, 0)], NAMES[main])
    return pd.DataFrame(
        {
            "item_id": ids,
            "title": title.to_numpy(object),
            "author": _words(FIRST)[draw["first"]] + " " + _words(LAST)[draw["last"]],
            "categories": category,
            "format": np.array(["paperback", "hardback", "e-book", "audiobook"], dtype=object)[rng.choice(4, n, p=[0.5, 0.15, 0.25, 0.1])],
            "price": np.round(np.exp(rng.normal(2.5, 0.35, n)), 2),
            "released": released.astype("datetime64[D]").astype(str),
        }
    )


def user_table(rng: np.random.Generator, ids: np.ndarray, age: np.ndarray, activity: np.ndarray, joined: np.ndarray) -> pd.DataFrame:
    """Readers. age: band number (n,); activity: weight (n,), heavy readers lean to paid plans; joined: datetime64[D]."""
    n = len(ids)
    rank = np.argsort(np.argsort(activity)) / n
    plan = (rng.random(n) < 0.25 + 0.5 * rank).astype(int) + (rng.random(n) < 0.1 + 0.35 * rank)
    weights = 0.75 ** np.arange(len(COUNTRIES))
    return pd.DataFrame(
        {
            "user_id": ids,
            "age_band": AGE_BANDS[age],
            "country": COUNTRIES[rng.choice(len(COUNTRIES), n, p=weights / weights.sum())],
            "plan": PLANS[plan],
            "joined": joined.astype("datetime64[D]").astype(str),
        }
    )
