"""What each departure of Mult-VAE from its paper buys, on validation cut from the MovieLens 100K training file.

    python benchmarks/mult_vae_ablation.py [--seeds 42,1,2] [--data ../shared/data/ml-100k]

The test file is not opened. One thread; CPU seconds of one fit with early stopping, all variants in one run.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

VARIANTS = {
    "hidden layers as in the paper": {"network": "hidden", "averaging": 0.0, "activity_damping": 0.0},
    "linear network, averaged weights": {"activity_damping": 0.0},
    "and damped activity (the defaults)": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="42,1,2")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")) / "ml-100k")
    options = parser.parse_args()

    import numpy as np
    import pandas as pd
    import torch  # noqa: F401 - imported here, so that no variant pays for it

    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.data.dataset import from_frame
    from recsys_core.metrics._quick import ndcg_at

    train = from_frame(pd.read_csv(options.data / "train.csv.gz", dtype={"user": str, "item": str}))
    model, splitter = registry.get("model", "mult_vae"), registry.get("splitter", "random")()
    print("| variant | validation NDCG@20 | CPU seconds |\n|---|---|---|")
    for name, values in VARIANTS.items():
        scores, seconds = [], []
        for seed in map(int, options.seeds.split(",")):
            ctx = RunContext(seed=seed, threads=1)
            part, validation = splitter.validation(train, ctx)
            start = time.process_time()
            fitted = model(**values).fit(part, ctx, validation=validation)
            seconds.append(time.process_time() - start)
            scores.append(ndcg_at(fitted.recommend_holdout(validation, 20).items, validation.relevant, 20).mean())
        print(f"| {name} | {np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f} | {np.mean(seconds):.1f} |", flush=True)


if __name__ == "__main__":
    main()
