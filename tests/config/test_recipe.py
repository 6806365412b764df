"""Recipes whose sections do not fit each other or the market: refused by name when read."""

from collections.abc import Iterator

import pytest
from tests.doors import written

from alpha_assets.config.market import Market, load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.errors import BadInput, SpecError

NEWS = "inputs.news"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """The tiny market, beside a recipe for each door."""
    with pytest.MonkeyPatch.context() as patch:
        folder = written(tmp_path_factory.mktemp("recipes") / "pipelines")
        patch.setenv("ALPHA_PIPELINES", str(folder))
        plain = (folder / "recipes" / "tiny_graph.toml").read_text()
        five = plain.replace("neighbours = 3", "neighbours = 5")
        (folder / "recipes" / "graph_of_five.toml").write_text(five)
        yield load_market("tiny")


@pytest.mark.parametrize(
    ("recipe", "overrides", "words"),
    [
        # Principal components.
        ("news_pca", [f"{NEWS}.components=0"], "components = 0: .*greater than or equal to 1"),
        ("news_pca", [f"{NEWS}.components=2.5"], "components = 2.5: .*valid integer"),
        (
            "news_pca",
            [f"{NEWS}.components=769", "split.lookback_sessions=800"],
            "components = 769: a vector of news has 768 numbers; want 768 components at most",
        ),
        (
            "news_pca",
            [f"{NEWS}.components=61"],
            "components = 61: more than the 60 training sessions of",
        ),
        ("news_pca", [f"{NEWS}.max_age=-1"], "max_age = -1: .*greater than or equal to 0"),
        ("news_pca", [f"{NEWS}.feed=nws"], "is no feed of market 'tiny'; did you mean 'news'?"),
        ("news_pca", [f"{NEWS}.feed=daily_bars"], "has no vectors by symbol; feeds with .* news"),
        ("news_pca", [f"{NEWS}.column=embeding"], "want one of embedding"),
        ("news_pca", [f"{NEWS}.kind=pcs"], "did you mean 'pca'?"),
        ("tiny", ['inputs.news={feed="news",components=3}'], r"key 'inputs.news.kind' is missing"),
        # A fit per fold, or from another model, is not built.
        (
            "news_pca",
            ["split.folds=3"],
            r"^news_pca.toml: \[inputs.news\] is fitted once for a month, and split.folds = 3",
        ),
        ("news_pca", ["training.warm_start=true"], "those that training.warm_start learned"),
        ("news_pca", ["training.parent=tiny"], "those that training.parent learned"),
        (
            "news_pca",
            ["study.kind=purged_kfold", "study.embargo_sessions=5"],
            r"the folds of \[study\] have none: leave one of them out",
        ),
        (
            "news_branch",
            ["study.kind=purged_kfold", "study.embargo_sessions=5"],
            r"the folds of \[study\] have none: leave one of them out",
        ),
        (
            "tiny_graph",
            ["training.parent=graph_of_five"],
            r"'neighbours': 3.*training.parent = 'graph_of_five' is .*'neighbours': 5.*the same",
        ),
        # Models, terms, samplers, folds.
        ("tiny_ridge", ["model.kind=rigde"], "did you mean 'ridge'?"),
        ("tiny_ridge", ["model={}"], "key 'model.kind' is missing"),
        ("tiny", ['loss=[{kind="pinbal"}]'], "did you mean 'pinball'?"),
        ("tiny", ['loss=[{kind="ic",weight=inf}]'], "loss.0.weight = inf; want a finite number"),
        ("tiny", ['loss=[{kind="ic",weight=nan}]'], "loss.0.weight = nan; want a finite number"),
        ("tiny", ["training.sampler=block"], "'sessions' or 'blocks'; did you mean 'blocks'?"),
        (
            "turnover",
            ["training.block_sessions=61", "training.batch_sessions=61"],
            r"block_sessions = 61: more than the 60 training sessions of \[split\], so that no",
        ),
        (
            "turnover",
            ["split.min_train_sessions=3"],
            r"block_sessions = 4: more than the 3 training sessions of \[split\]",
        ),
        ("turnover", ["training.sampler=sessions"], 'set training.sampler = "blocks"'),
        ("quantiles", ["model.quantiles=[0.1,0.9]"], "have no median, which is the score: add 0.5"),
        ("tiny_ridge", ["study.kind=purged_fold"], "did you mean 'purged_kfold'?"),
        (
            "tiny_ridge",
            ["study={kind='combinatorial',groups=40,tested=20,embargo_sessions=5}"],
            "tested = 20 of groups = 40 are 137,846,528,820 folds.*want 1000 at most",
        ),
        ("tiny", ["inputs.graph.neighbours=3"], r"reads no graph: take \[inputs\.graph\] out"),
        # Lists in which a value twice says nothing more, and numbers that no library takes.
        ("tiny", ["training.seeds=[0, 0]"], r"training.seeds = \[0, 0\]: 0 stands twice"),
        ("tiny", ["training.seeds=[-1]"], r"seeds.0 = -1: .*greater than or equal to 0"),
        ("tiny", ["training.seeds=[2147483648]"], r"seeds.0 = 2147483648: .*less than 2147483648"),
        ("tiny", ["training.threads=100000"], "threads = 100000: .*less than or equal to 1024"),
        ("tiny", ['features.names=["ret_1","ret_1"]'], "'ret_1' stands twice; want each once"),
        ("tiny", ['features.families=["price","price"]'], "'price' stands twice"),
        ("tiny", ['features.without=["ret_1","ret_1"]'], "'ret_1' stands twice"),
        ("tiny", ['markets=["tiny","tiny"]'], "'tiny' stands twice"),
        # Steps of the optimiser that move nothing.
        ("tiny", ["optimiser.learning_rate=1e-300"], "learning_rate = 1e-300: .*greater than or"),
        ("tiny", ["optimiser.clip=1e-300"], "clip = 1e-300: .*greater than or"),
        # Windows that a model cannot be built for, and sessions that no window has.
        (
            "tiny",
            ["model={kind='patch_transformer'}"],
            r"model.patch = 16 is more than window.sequence = 3, so that no patch would be whole",
        ),
        (
            "tiny",
            ["model={kind='atft_gat_fan',norm='fan',frequencies=2,graph=false}"],
            "model.frequencies = 2: a window of 3 steps has 2, and nothing would be left",
        ),
        (
            "tiny",
            ["split.min_train_sessions=61"],
            "min_train_sessions = 61 is more than lookback_sessions = 60",
        ),
        # Sizes that leave 64 bits, or take hours to make.
        (
            "tiny",
            [f"model.d_model={10**18}"],
            "d_model = 1000000000000000000: Input should be less",
        ),
        ("tiny", ["model.layers=100000"], "layers = 100000: Input should be less than or equal"),
        ("tiny", ["model={kind='lstm',hidden=20000000}"], "hidden = 20000000: Input should be"),
        ("news_branch", ["model.branches.news.latent=20000000"], "news.latent = 20000000: Input"),
        # Keys with another name.
        ("tiny", ["training.patiense=3"], "'training.patiense' .*; did you mean patience"),
        ("tiny", ["portfolio.quantil=3"], "'portfolio.quantil' .*; did you mean quantile"),
        ("tiny", ["portfolio.regimes.crsh=1"], "'portfolio.regimes.crsh' .*; did you mean crash"),
        ("tiny", ["loss.0.weigth=3"], r"'loss.0.weigth' .*; did you mean weight"),
        ("tiny", ["portfolio.sequence=3"], "did you mean window.sequence"),
        ("news_pca", [f"{NEWS}.colum='x'"], f"'{NEWS}.colum' .*; did you mean column"),
        ("tiny", ["model.kind=tr\u0430nsformer"], r"with U\+0430 CYRILLIC SMALL LETTER A"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    market: Market, recipe: str, overrides: list[str], words: str
) -> None:
    with pytest.raises(SpecError, match=words) as refused:
        load_recipe(recipe, market, overrides=overrides)
    text = str(refused.value)
    assert "Value error" not in text
    assert "'about'" not in text, "a refusal shows its keys, not the whole file"


@pytest.mark.parametrize(
    ("recipe", "overrides", "words"),
    [
        (
            "tiny_ridge",
            ["model={kind='weighted_sum',weights={ret_51=1.0}}"],
            "model.weights: 'ret_51' is no feature that the recipe reads; did you mean ret_5?",
        ),
        (
            "news_branch",
            ['model.branches.price.families=["pric"]'],
            r"\[model.branches.price\] families: 'pric' is not among .*; did you mean price?",
        ),
        (
            "news_branch",
            ['model.branches.price.columns=["ret_51_cs_z"]'],
            r"\[model.branches.price\] columns: 'ret_51_cs_z' is not .* did you mean ret_5_cs_z",
        ),
        ("tiny", ["model={kind='master'}"], "weighs features by market-wide series, and the input"),
    ],
)
def test_what_a_model_reads_is_looked_for_before_anything_runs(
    market: Market, recipe: str, overrides: list[str], words: str
) -> None:
    odd = load_recipe(recipe, market, overrides=overrides)
    with pytest.raises(BadInput, match=words):
        odd.check_features()


def test_columns_of_a_fitted_input_are_columns(market: Market) -> None:
    reads = "model={kind='multi_branch',branches.a={families=['inputs.news'],columns=['%s']}}"
    for column in ("news_03", "news_present", "price_missing"):
        load_recipe("news_pca", market, overrides=[reads % column]).check_features()
    with pytest.raises(BadInput, match=r"'news_04' is not among"):
        load_recipe("news_pca", market, overrides=[reads % "news_04"]).check_features()


@pytest.mark.parametrize("name", ["news_pca", "news_branch", "tiny_graph", "quantiles", "turnover"])
def test_what_fits_is_read(market: Market, name: str) -> None:
    recipe = load_recipe(name, market)
    recipe.check_features()
    assert recipe.name == name


def test_a_block_may_be_all_that_is_trained_on(market: Market) -> None:
    whole = ["training.block_sessions=60", "training.batch_sessions=60"]
    assert load_recipe("turnover", market, overrides=whole).spec.training.block_sessions == 60
