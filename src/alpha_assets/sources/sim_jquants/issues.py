"""Names and codes of the Tokyo exchange, for the rows of the issues master.

Source: the API's documentation of the issues master.
"""

import numpy as np
import polars as pl

from alpha_assets.feeds.sectors import COARSE as COARSE_OF
from alpha_assets.feeds.sectors import SECTORS
from alpha_assets.sources.sim import tokyo
from alpha_assets.sources.sim.market import SimMarket

OLD_SEGMENTS = (("0101", "東証一部"), ("0102", "東証二部"), ("0104", "マザーズ"))
NEW_SEGMENTS = (("0111", "プライム"), ("0112", "スタンダード"), ("0113", "グロース"))
# The coarse sector of each of the 33: its number and name.
COARSE_NAMES = {
    "1": "食品",
    "2": "エネルギー資源",
    "3": "建設・資材",
    "4": "素材・化学",
    "5": "医薬品",
    "6": "自動車・輸送機",
    "7": "鉄鋼・非鉄",
    "8": "機械",
    "9": "電機・精密",
    "10": "情報通信・サービスその他",
    "11": "電力・ガス",
    "12": "運輸・物流",
    "13": "商社・卸売",
    "14": "小売",
    "15": "銀行",
    "16": "金融（除く銀行）",
    "17": "不動産",
    "99": "その他",
}
# The exchange numbers its coarse sectors in the order of the table.
_NUMBER = {name: str(n) for n, name in enumerate(dict.fromkeys(COARSE_OF.values()), start=1)}
COARSE = {code: _NUMBER.get(COARSE_OF.get(english, ""), "99") for code, _, english in SECTORS}
JAPANESE = {code: japanese for code, japanese, _ in SECTORS}
# Share of the issues, by size, that each scale category holds, from the largest.
SCALES = ((0.03, "TOPIX Core30"), (0.10, "TOPIX Large70"), (0.35, "TOPIX Mid400"))


def issues(market: SimMarket) -> pl.DataFrame:
    """Return the master's row of each issue, in the order of the roster."""
    roster = market.roster
    sectors = [tokyo.SECTORS[number] for number in roster.sector.tolist()]
    rank_N = np.argsort(np.argsort(-(roster.price * roster.shares), kind="stable")) / len(roster)
    scale = [
        next((name for share, name in SCALES if rank < share), "TOPIX Small 1")
        for rank in rank_N.tolist()
    ]
    english = [f"Sim {s.name} {c[:4]}" for s, c in zip(sectors, roster.code, strict=True)]
    segment = roster.segment.tolist()
    return pl.DataFrame(
        {
            "Code": list(roster.code),
            "CoName": [f"模擬 {code[:4]}" for code in roster.code],
            "CoNameEn": english,
            "S17": [COARSE[sector.code33] for sector in sectors],
            "S17Nm": [COARSE_NAMES[COARSE[sector.code33]] for sector in sectors],
            "S33": [sector.code33 for sector in sectors],
            "S33Nm": [JAPANESE[sector.code33] for sector in sectors],
            "ScaleCat": scale,
            "MktOld": [OLD_SEGMENTS[number][0] for number in segment],
            "MktNmOld": [OLD_SEGMENTS[number][1] for number in segment],
            "MktNew": [NEW_SEGMENTS[number][0] for number in segment],
            "MktNmNew": [NEW_SEGMENTS[number][1] for number in segment],
            "Mrgn": ["2" if loanable else "1" for loanable in roster.shortable.tolist()],
            "MrgnNm": ["貸借" if loanable else "信用" for loanable in roster.shortable.tolist()],
            "ProdCat": ["011"] * len(roster),
        }
    )
