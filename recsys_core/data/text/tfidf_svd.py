"""TF-IDF and truncated SVD: vectors learnt from the texts of the table alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from scipy import sparse

from ...context import QUIET, RunContext
from ._base import TextEncoder
from ._terms import terms

MOST_TERMS = 20_000
MOST_TEXTS = 200_000  # texts that it learns from; of more, this many by chance
MOST_CHARACTERS = 10_000_000  # of the texts that it learns from: counting takes 30 to 300 bytes of memory each
FEW_TEXTS = 100  # up to here a term of one text alone is kept: else there would be next to none
NOTHING = 1e-4  # a row shorter than this before scaling has nothing in common with what was learnt
BATCH = 10_000


class TfidfSvd(TextEncoder):
    """Latent semantic analysis: weighted counts of terms (`_terms.terms`), brought to `size` dimensions; rows of unit length.

    Source: Deerwester et al. (1990), Indexing by latent semantic analysis; scikit-learn's TfidfVectorizer and TruncatedSVD.
    Differs: terms of one text alone are left out (above 100 texts): they can join no two texts, and with them the dimensions describe
        single texts. Rows of which nothing is known are zero rather than noise scaled up.
    Shapes: n texts -> float32 (n, size); size is at most the number of texts, of terms, and of dimensions that differ from zero.
    Cost: see benchmarks/README.md; the state is at most 20,000 × size × 4 bytes.
    """

    key = "tfidf_svd"
    label = "TF-IDF"
    summary = "Learns from the texts of this table which words go together; needs nothing installed, works for any script, takes seconds."

    def __init__(self, vocabulary: list[str], idf: np.ndarray, components: np.ndarray) -> None:
        self.vocabulary, self.idf, self.components = vocabulary, idf, components
        self.size = len(components)
        self._counter: Any = None

    @classmethod
    def fit(cls, texts: Sequence[str], ctx: RunContext = QUIET, *, size: int = 64, model: str = "") -> Self:
        """model: not used."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [text for text in texts if text.strip()]
        texts = _some(texts, ctx.rng("texts learnt from"))
        ctx.report("Texts", 0.0, f"Counting the words of {len(texts):,} texts")
        counted = _counts(TfidfVectorizer, texts)
        if counted is None:
            return cls([], np.zeros(0, np.float32), np.zeros((1, 0), np.float32))
        vectorizer, weights = counted
        ctx.report("Texts", 0.4, f"Joining {weights.shape[1]:,} terms to {size} dimensions")
        components = np.ones((1, 1))
        if weights.shape[1] > 1:
            svd = TruncatedSVD(min(size, *weights.shape), random_state=ctx.seed_for("text dimensions") % 2**32).fit(weights)
            components = svd.components_[svd.singular_values_ > NOTHING * svd.singular_values_[0]]
        ctx.check()
        vocabulary = vectorizer.get_feature_names_out().tolist()
        return cls(vocabulary, vectorizer.idf_.astype(np.float32), components.astype(np.float32))

    def encode(self, texts: Sequence[str], ctx: RunContext = QUIET) -> np.ndarray:
        """float32 (n, size): unit length, or zeros where no term is known."""
        out = np.zeros((len(texts), self.size), dtype=np.float32)
        if not self.vocabulary:
            return out
        for start in range(0, len(texts), BATCH):
            ctx.report("Texts", start / len(texts), f"{start:,} of {len(texts):,}")
            rows = self._weights(texts[start : start + BATCH]) @ self.components.T
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            out[start : start + BATCH] = np.where(length > NOTHING, rows / np.maximum(length, NOTHING), 0.0)
        return out

    def _weights(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """csr float32 (n, terms)."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        if self._counter is None:
            self._counter = TfidfVectorizer(analyzer=terms, vocabulary=self.vocabulary, sublinear_tf=True, dtype=np.float32)
            self._counter.idf_ = self.idf
        return self._counter.transform(texts)

    def plain(self) -> dict[str, Any]:
        return {"terms": len(self.vocabulary)}

    def arrays(self) -> dict[str, np.ndarray]:
        """vocabulary: its terms as UTF-8 bytes, parted by line ends (no term holds one)."""
        text = np.frombuffer("\n".join(self.vocabulary).encode(), dtype=np.uint8)
        return {"vocabulary": text.copy(), "idf": self.idf, "components": self.components}

    @classmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        vocabulary = np.asarray(arrays["vocabulary"], np.uint8).tobytes().decode().split("\n") if plain["terms"] else []
        return cls(vocabulary, np.asarray(arrays["idf"], np.float32), np.asarray(arrays["components"], np.float32))


def _some(texts: list[str], rng: np.random.Generator) -> list[str]:
    """All of them, or as many by chance as may be learnt from, in the order they came."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    if len(texts) <= MOST_TEXTS and lengths.sum() <= MOST_CHARACTERS:
        return texts
    chosen = rng.choice(len(texts), min(len(texts), MOST_TEXTS), replace=False)
    fits = max(1, int((np.cumsum(lengths[chosen]) <= MOST_CHARACTERS).sum()))
    return [texts[i] for i in np.sort(chosen[:fits])]


def _counts(vectorizer: Any, texts: list[str]) -> tuple[Any, sparse.csr_matrix] | None:
    """The weighted counts of terms that more than one text has; of all terms where there are few texts or none returns."""
    for fewest in [2, 1] if len(texts) > FEW_TEXTS else [1]:
        counter = vectorizer(analyzer=terms, min_df=fewest, max_features=MOST_TERMS, sublinear_tf=True)
        try:
            return counter, counter.fit_transform(texts)
        except ValueError:  # scikit-learn's word for a vocabulary with nothing in it
            continue
    return None
