"""The API's tables: paths, columns, the feed that each becomes, how each must be queried.

This is the only place where the API's column names are declared.  They are written
`short=long>ours`: the API's name, the long name that some files of history use where it differs,
and the feed's column.  A name that ends with `>` is read to compute columns; one without it is
not read.  A column's type is that of the feed's column.  Source: the API's documentation of each
endpoint and of its hours of publication.

Left out: the calendar of earnings (`/equities/earnings-calendar`), a snapshot of the next day
without history, since `/fins/earnings-date` has the same with history; and, of the plan premium
alone, morning prices, details of statements, and futures and options but those on the Nikkei 225.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from functools import cached_property
from typing import Literal

from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.flows import INVESTORS
from alpha_assets.feeds.margin import DAILY_FROM, REASONS
from alpha_assets.sources.jquants.plans import Plan
from alpha_assets.sources.jquants.summary import SUMMARY

# How history is cut into queries: one a session, one a calendar day, one a month, one in all.
Cut = Literal["session", "day", "month", "whole"]

FULL_DAY_HALT = date(2020, 10, 1)  # the exchange stood still: null bars, one made-up index row


@dataclass(frozen=True)
class Endpoint:
    """One table of the API."""

    path: str
    feed: str  # what it becomes
    least_plan: Plan
    names: str  # `short=long>ours`
    key: tuple[str, ...]  # short names
    day: str  # the column by which history is cut, and its queries are made
    cut: Cut
    at: time  # of day at which a day's rows appear, nominally
    sessions: int = 0  # sessions after the day; -1 = the evening before
    days: int = 0  # calendar days on top
    parameters: tuple[str, ...] = ("date",)  # of a query: one date, or first and last
    optional: frozenset[str] = frozenset()  # columns that may be absent
    always: bool = True  # every session has rows: none means not loaded yet
    # Column -> what its unit is in the unit of the feed's column.
    units: Mapping[str, float] = field(default_factory=dict, hash=False)
    blank: frozenset[str] = frozenset()  # columns of a key that may be left empty
    weekly_before: date | None = None  # until then only of the week's last session, a session later
    reread: int = 5  # newest cuts that are asked for again, for corrections
    has_bulk: bool = True  # files of history whose layout is known

    def __post_init__(self) -> None:
        """Refuse a column that the feed does not declare."""
        ours = (name.removeprefix("parent.") for name in self.theirs)
        FEEDS[self.feed].check_columns(ours, f"a column that {self.path} fills")

    @cached_property
    def _words(self) -> tuple[tuple[str, str, str, bool], ...]:
        """Short name, long name, the feed's column, whether it is read; in the API's order."""
        words = []
        for word in self.names.split():
            names, is_read, ours = word.partition(">")
            short, _, long = names.partition("=")
            words.append((short, long, ours, bool(is_read)))
        return tuple(words)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The API's names, in its order."""
        return tuple(short for short, _, _, _ in self._words)

    @cached_property
    def short_names(self) -> dict[str, str]:
        """Long name -> the API's name, for those that differ."""
        return {long: short for short, long, _, _ in self._words if long}

    @cached_property
    def read(self) -> tuple[str, ...]:
        """The API's names of the columns that the feed's rows are made from."""
        return tuple(short for short, _, _, is_read in self._words if is_read)

    @cached_property
    def theirs(self) -> dict[str, str]:
        """The feed's column -> the API's name."""
        return {ours: short for short, _, ours, _ in self._words if ours}

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
_SIDES = ("Sell=Sales", "Buy=Purchases", "Tot=Total", "Bal=Balance")
# The feed's name of a group of investors -> the API's.
INVESTOR_GROUPS = dict(zip(INVESTORS, (group.partition("=")[0] for group in _GROUPS), strict=True))


def _investor_columns() -> str:
    words = []
    for ours, group in zip(INVESTORS, _GROUPS, strict=True):
        short, _, long = group.partition("=")
        for side in _SIDES:
            name, _, full = side.partition("=")
            read = f">{ours}_{name.lower()}" if name in ("Sell", "Buy") else ""
            words.append(f"{short}{name}={long}{full}{read}")
    return " ".join(words)


# The feed's reasons for an alert -> the names inside of the API's object.
REASON_NAMES = dict(
    zip(
        REASONS,
        ("Restricted", "DailyPublication", "Monitoring", "RestrictedByJSF", "PrecautionByJSF",
         "UnclearOrSecOnAlert"),
        strict=True,
    )
)  # fmt: skip
MILLION = 1e6  # yen
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
_INDEX = "O=Open>open H=High>high L=Low>low C=Close>close"

CALENDAR = Endpoint(
    "/markets/calendar",
    "trading_calendar",
    "free",
    "Date>event_date HolDiv=HolidayDivision>division",
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
    "listings",
    "free",
    "Date>event_date Code>symbol CoName=CompanyName CoNameEn=CompanyNameEnglish>name "
    "S17=Sector17Code S17Nm=Sector17CodeName S33=Sector33Code S33Nm=Sector33CodeName>sector "
    "ScaleCat=ScaleCategory Mkt=MarketCode>market_segment MktNm=MarketCodeName "
    "Mrgn=MarginCode>shortable MrgnNm=MarginCodeName ProdCat>",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(17, 30),
    sessions=-1,
    optional=frozenset({"Mrgn", "MrgnNm", "ProdCat"}),
)
BARS = Endpoint(
    "/equities/bars/daily",
    "daily_bars",
    "free",
    "Date>event_date Code>symbol O=Open>open H=High>high L=Low>low C=Close>close "
    "UL=UpperLimit>upper_limit LL=LowerLimit>lower_limit Vo=Volume>volume "
    "Va=TurnoverValue>turnover_value AdjFactor=AdjustmentFactor>adjustment_factor "
    "AdjO=AdjustmentOpen AdjH=AdjustmentHigh AdjL=AdjustmentLow AdjC=AdjustmentClose "
    f"AdjVo=AdjustmentVolume ExRT> MktCap {_HALVES}",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(16, 30),
    optional=frozenset({"ExRT", "MktCap", *HALF_DAY_COLUMNS}),
    reread=20,
)
TOPIX = Endpoint(
    "/indices/bars/daily/topix",
    "benchmark",
    "light",
    "Date>event_date O=Open H=High L=Low C=Close>close",
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
    "sector_indices",
    "standard",
    f"Date>event_date Code>code {_INDEX}",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(16, 30),
)
INVESTOR_TYPES = Endpoint(
    "/equities/investor-types",
    "investor_types",
    "light",
    "PubDate=PublishedDate>published StDate=StartDate>start EnDate=EndDate>event_date "
    f"Section>section {_investor_columns()}",
    key=("Section", "StDate", "EnDate", "PubDate"),
    day="PubDate",
    cut="month",
    # Documented as 16:30 and as 18:00; the later one is safe.
    at=time(18, 0),
    parameters=("from", "to"),
    always=False,
    reread=2,
    has_bulk=False,
)
MARGIN_INTEREST = Endpoint(
    "/markets/margin-interest",
    "margin",
    "standard",
    "PubDate=PublishedDate>published Date>event_date Code>symbol IssType=IssueType>issue_type "
    "ShrtVol=ShortMarginTradeVolume>short LongVol=LongMarginTradeVolume>long "
    "ShrtNegVol=ShortNegotiableMarginTradeVolume>short_negotiable "
    "LongNegVol=LongNegotiableMarginTradeVolume>long_negotiable "
    "ShrtStdVol=ShortStandardizedMarginTradeVolume>short_standard "
    "LongStdVol=LongStandardizedMarginTradeVolume>long_standard ShrtVal>short_value "
    "LongVal>long_value ShrtNegVal LongNegVal ShrtStdVal LongStdVal",
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
    weekly_before=DAILY_FROM,
)
MARGIN_ALERT = Endpoint(
    "/markets/margin-alert",
    "margin_alerts",
    "standard",
    "PubDate=PublishedDate>published Code>symbol AppDate=ApplicationDate>event_date "
    "PubReason=PublishReason> ShrtOut>short ShrtOutChg>short_change ShrtOutRatio>short_ratio "
    "LongOut>long LongOutChg>long_change LongOutRatio>long_ratio SLRatio>short_to_long "
    "ShrtNegOut ShrtNegOutChg ShrtStdOut ShrtStdOutChg LongNegOut LongNegOutChg LongStdOut "
    "LongStdOutChg TSEMrgnRegCls>stage",
    key=("Code", "AppDate", "PubDate"),
    day="PubDate",
    cut="session",
    at=time(16, 30),
    always=False,
    has_bulk=False,  # how its files write the nested PubReason is not documented
)
SHORT_RATIO = Endpoint(
    "/markets/short-ratio",
    "sector_short_selling",
    "standard",
    "Date>event_date S33=Sector33Code>sector "
    "SellExShortVa=SellingExcludingShortSellingTurnoverValue>selling "
    "ShrtWithResVa=ShortSellingWithRestrictionsTurnoverValue>restricted "
    "ShrtNoResVa=ShortSellingWithoutRestrictionsTurnoverValue>exempt",
    key=("Date", "S33"),
    day="Date",
    cut="session",
    at=time(16, 30),
)
SHORT_SALE_REPORT = Endpoint(
    "/markets/short-sale-report",
    "short_positions",
    "standard",
    "DiscDate=DisclosedDate>disclosed CalcDate=CalculatedDate>event_date Code>symbol "
    "SSName=ShortSellerName>seller SSAddr=ShortSellerAddress "
    "DICName=DiscretionaryInvestmentContractorName>client "
    "DICAddr=DiscretionaryInvestmentContractorAddress FundName=InvestmentFundName>fund "
    "ShrtPosToSO=ShortPositionsToSharesOutstandingRatio>ratio "
    "ShrtPosShares=ShortPositionsInSharesNumber>shares "
    "ShrtPosUnits=ShortPositionsInTradingUnitsNumber "
    "PrevRptDate=CalculationInPreviousReportingDate>previous_date "
    "PrevRptRatio=ShortPositionsInPreviousReportingRatio>previous_ratio Notes",
    key=("DiscDate", "CalcDate", "Code", "SSName", "DICName", "FundName"),
    day="DiscDate",
    cut="session",
    at=time(17, 30),
    parameters=("disc_date",),
    blank=frozenset({"SSName", "DICName", "FundName"}),
    always=False,
)
OPTIONS_225 = Endpoint(
    "/derivatives/bars/daily/options/225",
    "index_options",
    "standard",
    "Date>event_date Code>contract O=WholeDayOpen H=WholeDayHigh L=WholeDayLow "
    "C=WholeDayClose>close EO=NightSessionOpen EH=NightSessionHigh EL=NightSessionLow "
    "EC=NightSessionClose AO=DaySessionOpen AH=DaySessionHigh AL=DaySessionLow "
    "AC=DaySessionClose Vo=Volume>volume OI=OpenInterest>open_interest Va=TurnoverValue "
    "CM=ContractMonth>contract_month Strike=StrikePrice>strike VoOA=Volume(OnlyAuction) "
    "EmMrgnTrgDiv=EmergencyMarginTriggerDivision>division PCDiv=PutCallDivision>put_call "
    "LTD=LastTradingDay SQD=SpecialQuotationDay>expiry Settle=SettlementPrice>settlement "
    "Theo=TheoreticalPrice BaseVol=BaseVolatility>base_volatility "
    "UnderPx=UnderlyingPrice>underlying IV=ImpliedVolatility>implied_volatility "
    "IR=InterestRate>interest_rate",
    key=("Date", "Code", "EmMrgnTrgDiv"),
    day="Date",
    cut="session",
    at=time(3, 0),
    days=1,
)
FINS_SUMMARY = Endpoint(
    "/fins/summary",
    "statements",
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
    "earnings_dates",
    "light",
    "PubDate>event_date SchDate>scheduled FQName>period FYE>fiscal_year_end Code>symbol CoName "
    "CoNameEn",
    key=("Code", "FQName", "FYE", "PubDate"),
    day="PubDate",
    cut="day",
    at=time(10, 5),
    blank=frozenset({"FQName", "FYE"}),
    always=False,
)
VALUATION = Endpoint(
    "/equities/valuation",
    "valuation",
    # Which plans include it is not documented: taken to be those of most tables beside the prices.
    # A refusal is an answer: the feed is off from then on, by name.
    "standard",
    "Date>event_date Code>symbol EPS>eps FwdEPS>forward_eps BPS>bps ROE>roe FwdROE>forward_roe "
    "PER>per FwdPER>forward_per PBR>pbr MktCap>market_value",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(16, 30),
    units={"MktCap": MILLION},
)
BREAKDOWN = Endpoint(
    "/markets/breakdown",
    "breakdown",
    "premium",
    "Date>event_date Code>symbol LongSellVa=LongSellValue>long_sell_value "
    "ShrtNoMrgnVa=ShortSellWithoutMarginValue>short_sell_value "
    "MrgnSellNewVa=MarginSellNewValue>margin_sell_new_value "
    "MrgnSellCloseVa=MarginSellCloseValue>margin_sell_close_value "
    "LongBuyVa=LongBuyValue>long_buy_value MrgnBuyNewVa=MarginBuyNewValue>margin_buy_new_value "
    "MrgnBuyCloseVa=MarginBuyCloseValue>margin_buy_close_value "
    "LongSellVo=LongSellVolume>long_sell_volume "
    "ShrtNoMrgnVo=ShortSellWithoutMarginVolume>short_sell_volume "
    "MrgnSellNewVo=MarginSellNewVolume>margin_sell_new_volume "
    "MrgnSellCloseVo=MarginSellCloseVolume>margin_sell_close_volume "
    "LongBuyVo=LongBuyVolume>long_buy_volume "
    "MrgnBuyNewVo=MarginBuyNewVolume>margin_buy_new_volume "
    "MrgnBuyCloseVo=MarginBuyCloseVolume>margin_buy_close_volume",
    key=("Date", "Code"),
    day="Date",
    cut="session",
    at=time(18, 0),
)
DIVIDEND = Endpoint(
    "/fins/dividend",
    "dividends",
    "premium",
    "PubDate=AnnouncementDate> PubTime=AnnouncementTime> Code>symbol RefNo=ReferenceNumber> "
    "StatCode=StatusCode> BoardDate=BoardMeetingDate IFCode=InterimFinalCode "
    "FRCode=ForecastResultCode IFTerm=InterimFinalTerm DivRate=GrossDividendRate>amount "
    "RecDate=RecordDate ExDate>event_date ActRecDate=ActualRecordDate PayDate=PayableDate "
    "CARefNo=CAReferenceNumber> DistAmt=DistributionAmount RetEarn=RetainedEarnings "
    "DeemDiv=DeemedDividend DeemCapGains=DeemedCapitalGains "
    "NetAssetDecRatio=NetAssetDecreaseRatio CommSpecCode=CommemorativeSpecialCode "
    "CommDivRate=CommemorativeDividendRate SpecDivRate=SpecialDividendRate",
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
