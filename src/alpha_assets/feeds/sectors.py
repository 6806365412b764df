"""The exchange's 33 sectors and the 17 coarse ones that they are put together into.

Source: the exchange's table of sector classifications.
"""

from collections.abc import Mapping

# Coarse sector -> its sectors.
_MEMBERS = {
    "Foods": ("Fishery, Agriculture & Forestry", "Foods"),
    "Energy Resources": ("Mining", "Oil & Coal Products"),
    "Construction & Materials": ("Construction", "Glass & Ceramics Products", "Metal Products"),
    "Raw Materials & Chemicals": ("Textiles & Apparels", "Pulp & Paper", "Chemicals"),
    "Pharmaceutical": ("Pharmaceutical",),
    "Automobiles & Transportation Equipment": ("Rubber Products", "Transportation Equipment"),
    "Steel & Nonferrous Metals": ("Iron & Steel", "Nonferrous Metals"),
    "Machinery": ("Machinery",),
    "Electric Appliances & Precision Instruments": ("Electric Appliances", "Precision Instruments"),
    "IT & Services, Others": ("Other Products", "Information & Communication", "Services"),
    "Electric Power & Gas": ("Electric Power & Gas",),
    "Transportation & Logistics": (
        "Land Transportation",
        "Marine Transportation",
        "Air Transportation",
        "Warehousing & Harbor Transportation Services",
    ),
    "Commercial & Wholesale Trade": ("Wholesale Trade",),
    "Retail Trade": ("Retail Trade",),
    "Banks": ("Banks",),
    "Financials (ex Banks)": (
        "Securities & Commodity Futures",
        "Insurance",
        "Other Financing Business",
    ),
    "Real Estate": ("Real Estate",),
}
COARSE: Mapping[str, str] = {
    sector: coarse for coarse, sectors in _MEMBERS.items() for sector in sectors
}
