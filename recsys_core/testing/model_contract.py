"""The test battery every model passes, whoever wrote it. Subclass `ModelContract` in a test file of yours.

A battery that only runs a model passes a model that does not learn; so this one checks first that it
learns, and then that it keeps the promises of `Recommender`.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ..context import RunContext
from ..data.histories import Histories
from ..data.topk import TopK
from ..errors import BadInput, Cancelled, Unsupported
from ..models._base import Need, Recommender
from ..models._io import load_model, save_model
from ._checks import ONE, SOME, Witness, close, cut_validation, popular_lists, recall, same, small_params
from ._describing import DescriptionContract
from .datasets import Case, checkerboard, described, tastes


class ModelContract(DescriptionContract):
    """model: the class under test. params: values for tiny data; None takes `small_params(model)`.

    rating_params: what to change besides, to make it predict ratings, where that depends on its parameters.
    """

    model: ClassVar[type[Recommender]]
    params: ClassVar[dict[str, Any] | None] = None
    rating_params: ClassVar[dict[str, Any]] = {}

    # ---- what the tests share --------------------------------------------------------------------
    @classmethod
    def make(cls, **changes: Any) -> Recommender:
        values = small_params(cls.model) if cls.params is None else cls.params
        return cls.model(**(values | changes))

    @classmethod
    def case(cls, maker: Any = tastes) -> Case:
        """The data set in the form the model needs: with ratings, with an item table."""
        return cls.with_tables(maker, Need.RATINGS in cls.model.needs)

    @classmethod
    def with_tables(cls, maker: Any, ratings: bool) -> Case:
        case = maker(ratings=ratings)
        return described(case, 2 if maker is checkerboard else 5) if Need.ITEM_TABLE in cls.model.needs else case

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls) -> Case:
        return cls.case()

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, data: Case) -> Recommender:
        return cls.make().fit(data.train, ONE)

    @pytest.fixture(scope="class")
    @classmethod
    def second(cls, data: Case) -> Witness:
        """The same fit once more, with what it reported and when it could have been cancelled."""
        witness = Witness()
        witness.model = cls.make().fit(data.train, RunContext(threads=1, on_progress=witness.said.append, cancelled=witness.asked))
        return witness

    @pytest.fixture(scope="class")
    @classmethod
    def rated(cls) -> Recommender:
        """Fitted on ratings with a threshold, without times unless it needs them; user 0 liked nothing."""
        train = cls.with_tables(tastes, ratings=True).train
        train = replace(train, value=np.where(train.user == 0, 2, train.value))
        return cls.make().fit(train if Need.TIME in cls.model.needs else replace(train, time=None), ONE)

    # ---- it learns -------------------------------------------------------------------------------
    def test_learns_the_checkerboard(self) -> None:
        board = self.case(checkerboard)
        model = self.make().fit(board.train, ONE)
        users = board.held_out.users
        right = (model.recommend(users, 1).items[:, 0] == users % board.train.n_items).mean()
        if self.model.personalised:
            assert right >= 0.8, f"the held-out item comes first for {right:.0%} of the users; chance is about 9 %"
        else:
            assert right <= 0.4, "a list that is not personal solves the board, so the board tests nothing"

    def test_beats_popularity(self, data: Case, fitted: Recommender) -> None:
        own = recall(fitted.recommend_holdout(data.held_out, 10), data)
        popular = recall(TopK(data.held_out.users, *popular_lists(data.train, data.held_out.users, 10)), data)
        if self.model.personalised:
            assert own > 1.2 * popular, f"recall@10 {own:.3f}, popularity {popular:.3f}"
        else:
            assert own <= 1.2 * popular

    def test_takes_ratings_and_predicts_them_better_than_their_mean(self, rated: Recommender) -> None:
        held_out = tastes(ratings=True).held_out
        top = rated.recommend_holdout(held_out, 10)
        assert (top.items >= 0).all() and np.isfinite(top.scores).all()
        truth = held_out.truth
        model = rated
        if self.rating_params:  # ratings are easily learnt by heart, so there is something to stop by
            fit_on, validation = cut_validation(self.with_tables(tastes, ratings=True).train)
            model = self.make(**self.rating_params).fit(fit_on, ONE, validation=validation)
        if not model.predicts_ratings():
            assert not self.model.card().can_rate, "say in rating_params what makes it predict ratings"
            with pytest.raises(Unsupported):
                model.predict_ratings(truth.user, truth.item)
            return
        predicted = model.predict_ratings(truth.user, truth.item)
        assert np.isfinite(predicted).all() and predicted.min() >= 1 and predicted.max() <= 5
        rmse = float(np.sqrt(np.mean((predicted - truth.value) ** 2)))
        assert rmse < 0.9 * truth.value.std(), f"RMSE {rmse:.3f}, the mean alone {truth.value.std():.3f}"

    # ---- lists keep the rules --------------------------------------------------------------------
    def test_seen_items_are_left_out_unless_asked_for(self, data: Case, fitted: Recommender) -> None:
        seen = data.train.matrix("seen").toarray() > 0
        top = fitted.recommend(SOME, 20)
        assert not np.take_along_axis(seen[SOME], np.maximum(top.items, 0), axis=1)[top.items >= 0].any()
        whole = fitted.recommend(SOME, data.train.n_items, exclude_seen=False)
        assert np.take_along_axis(seen[SOME], np.maximum(whole.items, 0), axis=1)[whole.items >= 0].any()
        histories = data.train.histories(SOME)
        folded = fitted.recommend_for_history(histories, 20)
        assert not np.take_along_axis(seen[SOME], np.maximum(folded.items, 0), axis=1)[folded.items >= 0].any()

    def test_lists_are_sorted_without_repeats(self, fitted: Recommender) -> None:
        top = fitted.recommend(SOME, 20)
        assert top.items.dtype == np.int32 and top.scores.dtype == np.float32 and top.items.shape == (len(SOME), 20)
        assert (np.diff(np.nan_to_num(top.scores, nan=-np.inf), axis=1)[top.items[:, 1:] >= 0] <= 0).all()
        assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in top.items)

    def test_only_candidates_appear_and_short_lists_are_padded(self, data: Case, fitted: Recommender) -> None:
        candidates = np.array([3, 17, 40, 41, 99])
        unseen = (data.train.matrix("seen")[SOME][:, candidates].toarray() == 0).sum(axis=1)
        mask = np.isin(np.arange(data.train.n_items), candidates)
        for top in (fitted.recommend(SOME, 10, candidates=candidates), fitted.recommend(SOME, 10, candidates=mask)):
            assert np.isin(top.items, [*candidates, -1]).all()
            assert ((top.items >= 0).sum(axis=1) == unseen).all(), "every unseen candidate must be listed, then -1"
            assert (np.isnan(top.scores) == (top.items < 0)).all()
        folded = fitted.recommend_for_history(data.train.histories(SOME), 10, candidates=candidates)
        assert np.isin(folded.items, [*candidates, -1]).all()
        assert (np.isnan(folded.scores) == (folded.items < 0)).all()

    def test_unknown_and_empty_users_get_what_is_popular_or_what_was_learnt(self, data: Case, fitted: Recommender) -> None:
        empty = data.train.n_users - 1
        top = fitted.recommend(np.array([-1, 0, empty]), 10)
        assert (top.items >= 0).all()
        nobody = fitted.recommend_for_history(Histories.from_lists([[], [3, 8, 13], []]), 10)
        assert (nobody.items >= 0).all()
        if not self.model.personalised:
            return
        lists = (top.items[0], top.items[2], nobody.items[0], nobody.items[2])
        first = lists[0] if self.model.has_prior else popular_lists(data.train, np.array([empty]), 10)[0][0]
        for row in lists:
            np.testing.assert_array_equal(row, first)
        np.testing.assert_array_equal(top.items[1], fitted.recommend(np.array([0]), 10).items[0])

    def test_a_user_who_liked_nothing_is_served_like_a_new_user_with_that_history(self, rated: Recommender) -> None:
        if self.model.personalised:
            user = np.array([0])
            close(rated.scores(user), rated.history_scores(rated.fitted.histories(user)))

    def test_no_users_and_no_histories_give_empty_lists(self, fitted: Recommender) -> None:
        assert fitted.recommend(np.empty(0, np.int32), 5).items.shape == (0, 5)
        assert fitted.recommend_for_history(Histories.from_lists([]), 5).items.shape == (0, 5)

    def test_a_batch_gives_what_single_users_get(self, data: Case, fitted: Recommender) -> None:
        some = SOME[:8]
        close(fitted.scores(some), np.concatenate([fitted.scores(some[n : n + 1]) for n in range(len(some))]))
        histories = data.train.histories(some)
        alone = [fitted.history_scores(histories.take(np.array([n]))) for n in range(len(some))]
        close(fitted.history_scores(histories), np.concatenate(alone))

    def test_fold_in_of_a_known_history_agrees_with_the_user(self, data: Case, fitted: Recommender) -> None:
        known = fitted.recommend(SOME, 10).items
        folded = fitted.recommend_for_history(data.train.histories(SOME), 10).items
        shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(known, folded, strict=True)])
        assert shared >= 0.5 or not self.model.personalised, f"lists of training users and of their own histories share {shared:.0%}"

    # ---- repeatable, saved, cancelled ------------------------------------------------------------
    def test_same_seed_same_lists(self, fitted: Recommender, second: Witness) -> None:
        same(fitted.recommend(SOME, 20), second.model.recommend(SOME, 20))

    def test_fit_draws_no_global_chance_and_leaves_the_data_alone(self) -> None:
        board = self.case(checkerboard).train
        before, binary = np.random.get_state()[1].copy(), board.matrix("binary").copy()
        self.make().fit(board, ONE)
        np.testing.assert_array_equal(np.random.get_state()[1], before, "fit drew from numpy's global generator")
        assert abs(board.matrix("binary") - binary).sum() == 0, "fit wrote into the data's matrices"

    def test_saved_and_loaded_it_answers_the_same_without_pickle(
        self, data: Case, fitted: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: Any, **__: Any) -> Any:
            raise AssertionError("pickle was used")

        for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler"):
            monkeypatch.setattr(pickle, name, refused)
        save_model(fitted, tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        kinds = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
        assert kinds <= {".json", ".safetensors", ".parquet"}, f"unexpected files: {kinds}"
        same(fitted.recommend(SOME, 20), loaded.recommend(SOME, 20))
        histories = data.train.histories(SOME)
        same(fitted.recommend_for_history(histories, 20), loaded.recommend_for_history(histories, 20))
        assert loaded.resolved == fitted.resolved and loaded.params == fitted.params and loaded.notes == fitted.notes
        if self.model.card().can_explain:
            assert loaded.explain(3, user=0) == fitted.explain(3, user=0)

    def test_cancel_stops_the_fit(self, data: Case, second: Witness) -> None:
        with pytest.raises(Cancelled):
            self.make().fit(data.train, RunContext(threads=1, cancelled=lambda: True))
        total, gaps = len(second.times), np.diff(second.times)
        assert gaps.max(initial=0) < 2, f"no chance to cancel for {gaps.max():.1f} s"
        assert total >= 3 or not self.model.personalised, "fit never asked whether it was cancelled"
        stop_at, asked = max(2, total // 2), Witness()
        with pytest.raises(Cancelled):
            self.make().fit(data.train, RunContext(threads=1, cancelled=lambda: asked.asked() or len(asked.times) >= stop_at))
        assert len(asked.times) <= stop_at + 32, "the fit went on after it was cancelled"

    def test_progress_stays_between_0_and_1(self, second: Witness) -> None:
        fractions = [step.fraction for step in second.said if step.fraction is not None]
        assert all(0 <= fraction <= 1 for fraction in fractions)
        assert all(step.stage for step in second.said)

    # ---- what can be asked of it -----------------------------------------------------------------
    def test_explanations_name_the_history_and_add_up(self, data: Case, fitted: Recommender) -> None:
        if not self.model.card().can_explain:
            with pytest.raises(Unsupported):
                fitted.explain(0, user=0)
            return
        user = 4
        item = int(fitted.recommend(np.array([user]), 1).items[0, 0])
        for asked in ({"user": user}, {"history": data.train.histories(np.array([user]))}):
            told = fitted.explain(item, k=1_000, **asked)
            assert told.refs and len(told.refs) == len(told.contributions) == len(set(told.refs))
            assert list(told.contributions) == sorted(told.contributions, reverse=True) or told.kind == "models"
            if told.kind == "history":
                assert set(told.refs) <= set(data.train.histories(np.array([user])).items.tolist())
            if told.exact:
                score = fitted.scores(np.array([user]))[0, item] if "user" in asked else fitted.history_scores(asked["history"])[0, item]
                assert sum(told.contributions) == pytest.approx(told.total, rel=1e-3, abs=1e-5)
                assert told.total == pytest.approx(float(score), rel=1e-3, abs=1e-5)
            assert told.method.endswith(".")
        assert len(fitted.explain(item, user=user, k=2).refs) <= 2 or fitted.explain(item, user=user, k=2).kind == "models"

    def test_similar_items_leave_out_the_item_itself(self, data: Case, fitted: Recommender) -> None:
        items = np.array([0, 1, 7])
        if not self.model.card().has_similar:
            with pytest.raises(Unsupported):
                fitted.similar_items(items, 5)
            return
        top = fitted.similar_items(items, 5)
        assert top.items.shape == (3, 5) and not (top.items == items[:, None]).any() and (top.items[:, 0] >= 0).all()
        same_taste = (top.items[:, :3] % 5 == items[:, None] % 5).mean()
        assert same_taste >= 0.5, f"{same_taste:.0%} of the items most similar to three popular ones are of their taste"

    def test_wrong_questions_get_one_clear_sentence(self, data: Case, fitted: Recommender) -> None:
        with pytest.raises(BadInput):
            self.make().recommend(np.array([0]), 5)
        for candidates in ([data.train.n_items], [-1], np.ones(3, bool)):
            with pytest.raises(BadInput):
                fitted.recommend(np.array([0]), 5, candidates=np.array(candidates))
        for users, k in ((np.array([data.train.n_users]), 5), (np.array([-2]), 5), (np.array([0]), 0)):
            with pytest.raises(BadInput) as caught:
                fitted.recommend(users, k)
            assert caught.value.message.endswith(".")
        with pytest.raises(BadInput):
            fitted.recommend_for_history(Histories.from_lists([[data.train.n_items]]), 5)
        nothing = data.train.subset(np.zeros(len(data.train), bool))
        with pytest.raises(BadInput):
            self.make().fit(nothing, ONE)

    def test_a_need_that_is_not_met_is_refused(self) -> None:
        bare = replace(tastes().train, time=None)
        assert bool(self.model.card().missing(bare.stats)) == bool(self.model.needs)
        if self.model.needs:
            with pytest.raises(Unsupported) as caught:
                self.make().fit(bare, ONE)
            assert any(need.value in caught.value.message for need in self.model.needs)

    def test_validation_serves_those_who_use_it_and_no_one_else(self, data: Case, fitted: Recommender) -> None:
        model = self.make().fit(data.train, ONE, validation=data.held_out)
        if not self.model.uses_validation:
            same(model.recommend(SOME, 10), fitted.recommend(SOME, 10))
            return
        assert (model.recommend(SOME, 10).items >= 0).all()
        again = self.model(model.refit_params()).fit(data.train, ONE)
        assert (again.recommend(SOME, 10).items >= 0).all()
