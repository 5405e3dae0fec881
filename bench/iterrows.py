"""How much a loop over data frame rows costs: the time of `iterrows()` divided by that of its rewrite.

`python bench/iterrows.py` collects one column, as on the slides (17.1 s : 0.94 ms); `--append` compares a frame
that grows row by row with a list that is built once. Times are the best of several runs, in seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd


def best_of(run: Callable[[], object], budget: float = 2.0) -> float:
    """The shortest of up to 7 runs, in seconds; no more runs once `budget` seconds are spent."""
    times: list[float] = []
    while len(times) < 7 and sum(times) < budget:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def make_frame(rows: int) -> pd.DataFrame:
    """Eight columns of ints, floats and text, as catalogues have them."""
    rng = np.random.default_rng(0)
    numbers = {f"feature_{at}": rng.normal(size=rows) for at in range(5)}
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "name": [f"pill-{at}" for at in range(rows)],
            "label": rng.integers(0, 9, rows),
            **numbers,
        }
    )


def iterrows(df: pd.DataFrame) -> list[int]:
    ids = []
    for _, row in df.iterrows():
        ids.append(row["id"])
    return ids


def column(df: pd.DataFrame) -> list[int]:
    return df["id"].tolist()


def itertuples(df: pd.DataFrame) -> list[int]:
    return [row.id for row in df.itertuples(index=False)]


def growing_frame(rows: list[pd.DataFrame]) -> pd.DataFrame:
    table = rows[0]
    for row in rows[1:]:
        table = pd.concat([table, row], ignore_index=True)
    return table


def growing_list(rows: list[pd.DataFrame]) -> pd.DataFrame:
    pieces = [rows[0]]
    for row in rows[1:]:
        pieces.append(row)
    return pd.concat(pieces, ignore_index=True)


def list_of_dicts(rows: list[dict[str, object]]) -> pd.DataFrame:
    found = []
    for row in rows:
        found.append(row)
    return pd.DataFrame(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--append", action="store_true", help="frames that grow row by row (TRK402)")
    arguments = parser.parse_args()
    if arguments.append:
        print(f"{'rows':>8}  {'concat in the loop':>18}  {'list of frames':>14}  {'list of dicts':>13}  concat : dicts")
        for count in (10**2, 10**3, 3 * 10**3):
            frames = [make_frame(1) for _ in range(count)]
            dicts = [frame.iloc[0].to_dict() for frame in frames]
            assert growing_frame(frames[:9]).equals(growing_list(frames[:9]))
            slow = best_of(lambda frames=frames: growing_frame(frames))
            middle = best_of(lambda frames=frames: growing_list(frames))
            fast = best_of(lambda dicts=dicts: list_of_dicts(dicts))
            print(f"{count:8}  {slow:16.4f} s  {middle:12.4f} s  {fast:11.5f} s  {slow / fast:.0f} : 1")
        return
    print(f"{'rows':>8}  {'iterrows':>12}  {'itertuples':>12}  {'column list':>12}  iterrows : column list")
    for count in (10**3, 10**4, 10**5):
        df = make_frame(count)
        assert iterrows(df.head(50)) == column(df.head(50)) == itertuples(df.head(50))
        slow = best_of(lambda df=df: iterrows(df))
        middle = best_of(lambda df=df: itertuples(df))
        fast = best_of(lambda df=df: column(df))
        print(f"{count:8}  {slow:10.4f} s  {middle:10.5f} s  {fast:10.6f} s  {slow / fast:.0f} : 1")


if __name__ == "__main__":
    main()
