"""The API's tables as they cross the wire: paths, columns, how each must be asked for.

Columns are written `short=long`: the API's name, and the long name that some files of history
use.  Source: the API's documentation of each endpoint and of its hours of publication.

Left out: the calendar of earnings (`/equities/earnings-calendar`), a snapshot of the next day
without history, since `/fins/earnings-date` says the same with history; and, of the plan premium
alone, morning prices, details of statements, and futures and options but those on the Nikkei 225.
"""

from dataclasses import dataclass
from datetime import date, time
from functools import cached_property
from typing import Literal

from alpha_assets.sources.jquants.plans import Plan
from alpha_assets.sources.jquants.summary import SUMMARY

# How history is cut into queries: one a session, one a calendar day, one a month, one in all.
Cut = Literal["session", "day", "month", "whole"]

FULL_DAY_HALT = date(2020, 10, 1)  # the exchange stood still: null bars, one made-up index row
# From this balance date on margin balances are daily; before, only of the week's last session.
DAILY_MARGIN_FROM = date(2026, 9, 25)


@dataclass(frozen=True)
class Endpoint:
    """One table of the API."""

    path: str
    least_plan: Plan
    names: str  # `short=long` words
    key: tuple[str, ...]  # short names
    day: str  # the column by which history is cut, and its queries are made
    cut: Cut
    at: time  # of day at which a day's rows appear, nominally
    sessions: int = 0  # sessions after the day; -1 = the evening before
    days: int = 0  # calendar days on top
    parameters: tuple[str, ...] = ("date",)  # of a query: one date, or first and last
    optional: frozenset[str] = frozenset()  # columns that may be absent
    always: bool = True  # every session has rows: none means not loaded yet
    weekly_before: date | None = None  # until then only of the week's last session, a session later
    reread: int = 5  # newest cuts that are asked for again, for corrections
    has_bulk: bool = True  # files of history whose layout is known

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The API's names, in its order."""
        return tuple(word.partition("=")[0] for word in self.names.split())

    @cached_property
    def short_names(self) -> dict[str, str]:
        """Long name -> the API's name, for those that differ."""
        pairs = (word.partition("=") for word in self.names.split())
        return {long: short for short, equals, long in pairs if equals}

    @property
    def slug(self) -> str:
        """A name for folders."""
        return self.path.strip("/").replace("/", "-")


_GROUPS = (
    "Prop=Proprietary",
    "Brk=Brokerage",
    "Tot=Total",
    "Ind=Individuals",
    "Frgn=Foreigners",
    "SecCo=SecuritiesCos",
    "InvTr=InvestmentTrusts",
    "BusCo=BusinessCos",
    "OthCo=OtherCos",
    "InsCo=InsuranceCos",
    "Bank=CityBKsRegionalBKsEtc",
    "TrstBnk=TrustBanks",
    "OthFin=OtherFinancialInstitutions",
)
_SIDES = ["Sell=Sales", "Buy=Purchases", "Tot=Total", "Bal=Balance"]
INVESTOR_COLUMNS = "PubDate=PublishedDate StDate=StartDate EnDate=EndDate Section " + " ".join(
    f"{group.partition('=')[0]}{side.partition('=')[0]}"
    f"={group.partition('=')[2]}{side.partition('=')[2]}"
    for group in _GROUPS
    for side in _SIDES
)
_HALVES = " ".join(
    f"{half}{name}={long}{word}"
    for half, long in (("M", "Morning"), ("A", "Afternoon"))
    for name, word in (
        ("O", "Open"),
        ("H", "High"),
        ("L", "Low"),
        ("C", "Close"),
        ("UL", "UpperLimit"),
        ("LL", "LowerLimit"),
        ("Vo", "Volume"),
        ("Va", "TurnoverValue"),
        ("AdjO", "AdjustmentOpen"),
        ("AdjH", "AdjustmentHigh"),
        ("AdjL", "AdjustmentLow"),
        ("AdjC", "AdjustmentClose"),
        ("AdjVo", "AdjustmentVolume"),
    )
)
# Morning and afternoon: Premium only; elsewhere the keys are absent.
HALF_DAY_COLUMNS = tuple(word.partition("=")[0] for word in _HALVES.split())
_INDEX = "O=Open H=High L=Low C=Close"

CALENDAR = Endpoint(
    "/markets/calendar",
    "free",
    "Date HolDiv=HolidayDivision",
    key=("Date",),
    day="Date",
    cut="whole",
    at=time(0, 0),
    parameters=("from", "to"),
    reread=1,
    has_bulk=False,  # one request holds all of it
)
MASTER = Endpoint(
    "/equities/master",
    "free",
    "Date Code CoName=CompanyName CoNameEn=CompanyNameEnglish S17=Sector17Code "
    "S17Nm=Sector17CodeName S33=Sector33Code S33Nm=Sector33CodeName ScaleCat=ScaleCategory "
    "Mkt=MarketCode MktNm=MarketCodeName Mrgn=MarginCode MrgnNm=MarginCodeName ProdCat",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(17, 30),
    sessions=-1,
    optional=frozenset({"Mrgn", "MrgnNm", "ProdCat"}),
)
BARS = Endpoint(
    "/equities/bars/daily",
    "free",
    "Date Code O=Open H=High L=Low C=Close UL=UpperLimit LL=LowerLimit Vo=Volume "
    "Va=TurnoverValue AdjFactor=AdjustmentFactor AdjO=AdjustmentOpen AdjH=AdjustmentHigh "
    f"AdjL=AdjustmentLow AdjC=AdjustmentClose AdjVo=AdjustmentVolume ExRT MktCap {_HALVES}",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(16, 30),
    optional=frozenset({"ExRT", "MktCap", *HALF_DAY_COLUMNS}),
    reread=20,
)
TOPIX = Endpoint(
    "/indices/bars/daily/topix",
    "light",
    f"Date {_INDEX}",
    key=("Date",),
    day="Date",
    cut="month",
    at=time(16, 30),
    parameters=("from", "to"),
    reread=2,
    has_bulk=False,  # one request a month is no more than one file a month
)
INDICES = Endpoint(
    "/indices/bars/daily",
    "standard",
    f"Date Code {_INDEX}",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(16, 30),
)
INVESTOR_TYPES = Endpoint(
    "/equities/investor-types",
    "light",
    INVESTOR_COLUMNS,
    key=("Section", "StDate", "EnDate", "PubDate"),
    day="PubDate",
    cut="month",
    # Sources say 16:30 and 18:00; the later one loses nothing.
    at=time(18, 0),
    parameters=("from", "to"),
    always=False,
    reread=2,
    has_bulk=False,
)
MARGIN_INTEREST = Endpoint(
    "/markets/margin-interest",
    "standard",
    "PubDate=PublishedDate Date Code IssType=IssueType ShrtVol=ShortMarginTradeVolume "
    "LongVol=LongMarginTradeVolume ShrtNegVol=ShortNegotiableMarginTradeVolume "
    "LongNegVol=LongNegotiableMarginTradeVolume ShrtStdVol=ShortStandardizedMarginTradeVolume "
    "LongStdVol=LongStandardizedMarginTradeVolume ShrtVal LongVal ShrtNegVal LongNegVal "
    "ShrtStdVal LongStdVal",
    key=("Date", "Code", "PubDate"),
    day="Date",
    cut="session",
    at=time(16, 30),
    sessions=1,
    # Files of history from before the daily regime have neither.
    optional=frozenset(
        {"PubDate", "ShrtVal", "LongVal", "ShrtNegVal", "LongNegVal", "ShrtStdVal", "LongStdVal"}
    ),
    always=False,
    weekly_before=DAILY_MARGIN_FROM,
)
MARGIN_ALERT = Endpoint(
    "/markets/margin-alert",
    "standard",
    "PubDate=PublishedDate Code AppDate=ApplicationDate PubReason=PublishReason ShrtOut "
    "ShrtOutChg ShrtOutRatio LongOut LongOutChg LongOutRatio SLRatio ShrtNegOut ShrtNegOutChg "
    "ShrtStdOut ShrtStdOutChg LongNegOut LongNegOutChg LongStdOut LongStdOutChg TSEMrgnRegCls",
    key=("Code", "AppDate", "PubDate"),
    day="PubDate",
    cut="session",
    at=time(16, 30),
    always=False,
    has_bulk=False,  # how its files write the nested PubReason is not documented
)
SHORT_RATIO = Endpoint(
    "/markets/short-ratio",
    "standard",
    "Date S33=Sector33Code SellExShortVa=SellingExcludingShortSellingTurnoverValue "
    "ShrtWithResVa=ShortSellingWithRestrictionsTurnoverValue "
    "ShrtNoResVa=ShortSellingWithoutRestrictionsTurnoverValue",
    key=("Date", "S33"),
    day="Date",
    cut="session",
    at=time(16, 30),
)
SHORT_SALE_REPORT = Endpoint(
    "/markets/short-sale-report",
    "standard",
    "DiscDate=DisclosedDate CalcDate=CalculatedDate Code SSName=ShortSellerName "
    "SSAddr=ShortSellerAddress DICName=DiscretionaryInvestmentContractorName "
    "DICAddr=DiscretionaryInvestmentContractorAddress FundName=InvestmentFundName "
    "ShrtPosToSO=ShortPositionsToSharesOutstandingRatio "
    "ShrtPosShares=ShortPositionsInSharesNumber "
    "ShrtPosUnits=ShortPositionsInTradingUnitsNumber "
    "PrevRptDate=CalculationInPreviousReportingDate "
    "PrevRptRatio=ShortPositionsInPreviousReportingRatio Notes",
    key=("DiscDate", "CalcDate", "Code", "SSName", "DICName", "FundName"),
    day="DiscDate",
    cut="session",
    at=time(17, 30),
    parameters=("disc_date",),
    always=False,
)
OPTIONS_225 = Endpoint(
    "/derivatives/bars/daily/options/225",
    "standard",
    "Date Code O=WholeDayOpen H=WholeDayHigh L=WholeDayLow C=WholeDayClose "
    "EO=NightSessionOpen EH=NightSessionHigh EL=NightSessionLow EC=NightSessionClose "
    "AO=DaySessionOpen AH=DaySessionHigh AL=DaySessionLow AC=DaySessionClose Vo=Volume "
    "OI=OpenInterest Va=TurnoverValue CM=ContractMonth Strike=StrikePrice "
    "VoOA=Volume(OnlyAuction) EmMrgnTrgDiv=EmergencyMarginTriggerDivision "
    "PCDiv=PutCallDivision LTD=LastTradingDay SQD=SpecialQuotationDay Settle=SettlementPrice "
    "Theo=TheoreticalPrice BaseVol=BaseVolatility UnderPx=UnderlyingPrice "
    "IV=ImpliedVolatility IR=InterestRate",
    key=("Date", "Code", "EmMrgnTrgDiv"),
    day="Date",
    cut="session",
    at=time(3, 0),
    days=1,
)
FINS_SUMMARY = Endpoint(
    "/fins/summary",
    "free",
    SUMMARY,
    key=("DiscNo",),
    day="DiscDate",
    cut="day",
    at=time(0, 30),
    days=1,
    optional=frozenset({"ShEq", "NCShEq", "ROE", "NCROE"}),
    always=False,
)
EARNINGS_DATE = Endpoint(
    "/fins/earnings-date",
    "light",
    "PubDate SchDate FQName FYE Code CoName CoNameEn",
    key=("Code", "FQName", "FYE", "PubDate"),
    day="PubDate",
    cut="day",
    at=time(10, 5),
    always=False,
)
VALUATION = Endpoint(
    "/equities/valuation",
    # No source says which plans include it: taken to be those of most tables beside the prices.
    # A refusal is an answer: the feed is off from then on, by name.
    "standard",
    "Date Code EPS FwdEPS BPS ROE FwdROE PER FwdPER PBR MktCap",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(16, 30),
)
BREAKDOWN = Endpoint(
    "/markets/breakdown",
    "premium",
    "Date Code LongSellVa=LongSellValue ShrtNoMrgnVa=ShortSellWithoutMarginValue "
    "MrgnSellNewVa=MarginSellNewValue MrgnSellCloseVa=MarginSellCloseValue "
    "LongBuyVa=LongBuyValue MrgnBuyNewVa=MarginBuyNewValue MrgnBuyCloseVa=MarginBuyCloseValue "
    "LongSellVo=LongSellVolume ShrtNoMrgnVo=ShortSellWithoutMarginVolume "
    "MrgnSellNewVo=MarginSellNewVolume MrgnSellCloseVo=MarginSellCloseVolume "
    "LongBuyVo=LongBuyVolume MrgnBuyNewVo=MarginBuyNewVolume MrgnBuyCloseVo=MarginBuyCloseVolume",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(18, 0),
)
DIVIDEND = Endpoint(
    "/fins/dividend",
    "premium",
    "PubDate=AnnouncementDate PubTime=AnnouncementTime Code RefNo=ReferenceNumber "
    "StatCode=StatusCode BoardDate=BoardMeetingDate IFCode=InterimFinalCode "
    "FRCode=ForecastResultCode IFTerm=InterimFinalTerm DivRate=GrossDividendRate "
    "RecDate=RecordDate ExDate ActRecDate=ActualRecordDate PayDate=PayableDate "
    "CARefNo=CAReferenceNumber DistAmt=DistributionAmount RetEarn=RetainedEarnings "
    "DeemDiv=DeemedDividend DeemCapGains=DeemedCapitalGains NetAssetDecRatio=NetAssetDecreaseRatio "
    "CommSpecCode=CommemorativeSpecialCode CommDivRate=CommemorativeDividendRate "
    "SpecDivRate=SpecialDividendRate",
    key=("RefNo",),
    day="PubDate",
    cut="day",
    at=time(19, 0),
    always=False,
)

ENDPOINTS: dict[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in (
        CALENDAR,
        MASTER,
        BARS,
        TOPIX,
        INDICES,
        INVESTOR_TYPES,
        MARGIN_INTEREST,
        MARGIN_ALERT,
        SHORT_RATIO,
        SHORT_SALE_REPORT,
        OPTIONS_225,
        FINS_SUMMARY,
        EARNINGS_DATE,
        VALUATION,
        BREAKDOWN,
        DIVIDEND,
    )
}
