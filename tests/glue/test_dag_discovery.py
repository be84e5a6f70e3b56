"""Campaign files that Airflow passes over without a word are named with what to write; all others are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.utils.file import might_contain_dag_via_default_heuristic

from capillary.check.dag_discovery import PassedOver, passed_over

IMPORT = "from capillary.campaign import BadgeCampaign\n"
WORDS = '"""An Airflow DAG."""\n'
NO_WORDS = "it does not contain both words airflow and dag"
NO_DAG = "makes no DAG"
#: Airflow's own, while it reads an .airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def found(folder: Path, source: str, *, safe_mode: bool = True) -> list[PassedOver]:
    (folder / "vips.py").write_text(source)
    return passed_over(folder, safe_mode=safe_mode)


@pytest.mark.parametrize(
    ("source", "sentence", "campaigns"),
    [
        (f"{IMPORT}dag = BadgeCampaign(name='vip').dag()\n", NO_WORDS, ("vip",)),
        (f"'''DAGs.'''\n{IMPORT}BadgeCampaign(name='vip').dag()\n", NO_WORDS, ("vip",)),
        ("import capillary.campaign as c\nc.BadgeCampaign(name='vip').dag()\n", NO_WORDS, ("vip",)),
        ("from capillary.campaign import *\nBadgeCampaign(name='vip').dag()\n", NO_WORDS, ("vip",)),
        (f"{IMPORT}for name in 'ab':\n    BadgeCampaign(name=name).dag()\n", NO_WORDS, ()),
        (f"{IMPORT}if True:\n    BadgeCampaign(name='vip').dag()\n", NO_WORDS, ("vip",)),
        (f"{WORDS}{IMPORT}BadgeCampaign(name='vip')\n", NO_DAG, ("vip",)),
        (f"{WORDS}{IMPORT}dag = BadgeCampaign(name='vip')\n", NO_DAG, ("vip",)),
        (f"{WORDS}{IMPORT}dag: object = BadgeCampaign(name='vip')\n", NO_DAG, ("vip",)),
        (f"{WORDS}{IMPORT}vip = BadgeCampaign(name='vip')\nvip.dag\n", NO_DAG, ("vip",)),
        (f"{WORDS}{IMPORT}vip = BadgeCampaign(name='vip').dag\n", NO_DAG, ("vip",)),
        (f"{WORDS}{IMPORT}vip = BadgeCampaign(name='vip')\nprint(vip.name)\n", NO_DAG, ("vip",)),
        (f"{WORDS}{IMPORT}a = BadgeCampaign(name='a').dag()\nb = BadgeCampaign(name='b')\n", NO_DAG, ("b",)),
        (f"{WORDS}{IMPORT}a, b = BadgeCampaign(name='a'), BadgeCampaign(name='b')\n", NO_DAG, ("a", "b")),
        (f"{WORDS}{IMPORT}all = [BadgeCampaign(name=each) for each in 'ab']\n", NO_DAG, ()),
        (f"{WORDS}{IMPORT}for name in 'ab':\n    BadgeCampaign(name=name)\n", NO_DAG, ()),
        (f"{WORDS}from capillary.campaign import BadgeCampaign as B\nB(name='vip')\n", NO_DAG, ("vip",)),
    ],
)
def test_a_campaign_that_airflow_passes_over_is_named_with_file_and_remedy(
    tmp_path: Path, source: str, sentence: str, campaigns: tuple[str, ...]
) -> None:
    (each,) = found(tmp_path, source)
    assert (each.file, each.campaigns) == (tmp_path / "vips.py", campaigns)
    assert sentence in each.sentence
    assert str(each).startswith("vips.py: ")
    assert each.remedy.startswith("Write ")
    # What it says of the two words is Airflow's own judgement.
    assert might_contain_dag_via_default_heuristic(str(each.file)) is (sentence != NO_WORDS)


@pytest.mark.parametrize(
    "source",
    [
        f"{WORDS}{IMPORT}dag = BadgeCampaign(name='vip').dag()\n",
        f"{WORDS}{IMPORT}BadgeCampaign(name='vip').dag()\n",
        f"{WORDS}{IMPORT}vip = BadgeCampaign(name='vip')\nvip.dag()\n",
        f"{WORDS}{IMPORT}for name in 'ab':\n    each = BadgeCampaign(name=name)\n    each.dag()\n",
        f"{WORDS}{IMPORT}for each in [BadgeCampaign(name='a'), BadgeCampaign(name='b')]:\n    each.dag()\n",
        f"{WORDS}{IMPORT}all = [BadgeCampaign(name=each) for each in 'ab']\ndags = [each.dag() for each in all]\n",
        f"{WORDS}{IMPORT}vip = BadgeCampaign(name='vip')\nall = [vip]\nfor each in all:\n    each.dag()\n",
        f"{WORDS}{IMPORT}from lib import publish\nvip = BadgeCampaign(name='vip')\npublish(vip)\n",
        f"{WORDS}{IMPORT}from lib import publish\npublish(BadgeCampaign(name='vip'))\n",
        f"{IMPORT}def campaign(name):\n    return BadgeCampaign(name=name)\n",
        f"{IMPORT}def campaign(name):\n    return BadgeCampaign(name=name).dag()\n",
        "import asyncio\n",
        "",
        f"{IMPORT}BadgeCampaign(name='vip'\n",
    ],
)
def test_what_airflow_reads_and_what_makes_no_campaign_is_left_alone(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, source) == []


MAKE = "    return BadgeCampaign(name='vip').dag()\n"
MADE = "    dag = BadgeCampaign(name='vip').dag()\n"


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        (f"def make():\n{MAKE}", 4, "in the function 'make' of line 3, which nobody calls"),
        (f"async def make():\n{MAKE}", 4, "in the function 'make' of line 3, which nobody calls"),
        (f"def make():\n{MAKE}\ndef both():\n    make()\n", 4, "'make' of line 3, which nobody calls"),
        (f"class Tiers:\n    def make(self):\n    {MAKE}", 5, "'make' of line 4, which nobody calls"),
        (f"if False:\n    def make():\n    {MAKE}\n", 5, "under 'if False' of line 3"),
        (f"if False:\n{MADE}", 4, "under 'if False' of line 3"),
        (f"if 0:\n{MADE}", 4, "under 'if 0' of line 3"),
        (f"if not True:\n{MADE}", 4, "under 'if not True' of line 3"),
        (f"if True:\n    pass\nelse:\n{MADE}", 6, "under 'else of if True' of line 3"),
        (f"while False:\n{MADE}", 4, "under 'while False' of line 3"),
        (f"for tier in []:\n{MADE}", 4, "under 'for … in []' of line 3"),
        (f"if TYPE_CHECKING:\n{MADE}", 4, "under 'if TYPE_CHECKING' of line 3"),
        (f"if typing.TYPE_CHECKING and 1:\n{MADE}", 4, "under 'if typing.TYPE_CHECKING and 1' of line 3"),
        (f"if __name__ == '__main__':\n{MADE}", 4, "under \"if __name__ == '__main__'\" of line 3"),
        (f"if '__main__' == __name__:\n{MADE}", 4, "of line 3"),
        (f"if __name__ != '__main__':\n    pass\nelse:\n{MADE}", 6, "of line 3"),
        (f"def make():\n    return 1\n{MAKE}make()\n", 5, "after the return of line 4"),
        (f"def make():\n    raise OSError\n{MAKE}make()\n", 5, "after the raise of line 4"),
        (f"if __name__ == '__main__':\n    make()\ndef make():\n{MAKE}", 6, "'make' of line 5, which nobody calls"),
    ],
)
def test_a_campaign_that_no_reading_of_the_file_reaches_is_named_with_its_line(
    tmp_path: Path, source: str, line: int, reason: str
) -> None:
    (each,) = found(tmp_path, f"{WORDS}{IMPORT}{source}")
    assert each.campaigns == ("vip",)
    assert each.sentence.startswith(f"the campaign 'vip' of line {line} makes no DAG, so Airflow never runs it: it ")
    assert reason in each.sentence
    assert each.remedy.endswith("or delete it")
    assert found(tmp_path, f"{WORDS}{IMPORT}{source}", safe_mode=False) == [each]


@pytest.mark.parametrize(
    "source",
    [
        f"def make():\n{MAKE}dag = make()\n",
        f"def make():\n{MAKE}def all():\n    make()\nall()\n",
        f"def make():\n{MAKE}makers = [make]\n",
        f"def make():\n{MAKE}globals()['make']()\n",
        f"@register\ndef make():\n{MAKE}",
        f"def test_it():\n{MAKE}",
        f"class Tiers:\n    def make(self):\n    {MAKE}Tiers().make()\n",
        f"class Tiers:\n    def __call__(self):\n    {MAKE}Tiers()()\n",
        "make = lambda: BadgeCampaign(name='vip').dag()\ndag = make()\n",
        f"if os.environ.get('STAGE') == 'live':\n{MADE}",
        f"if True:\n{MADE}",
        f"if not TYPE_CHECKING:\n{MADE}",
        f"if __name__ != '__main__':\n{MADE}",
        f"if __name__ == '__main__' or True:\n{MADE}",
        f"try:\n{MADE}except ImportError:\n    pass\n",
        f"for tier in TIERS:\n{MADE}",
        f"while False:\n    pass\nelse:\n{MADE}",
        f"{MADE.strip()}\nif __name__ == '__main__':\n    dag.test()\n",
        f"def make(tier):\n    if tier:\n        return None\n{MAKE}dag = make(0)\n",
    ],
)
def test_a_campaign_that_may_be_reached_is_left_alone(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, f"{WORDS}{IMPORT}{source}") == []


def test_a_function_that_another_file_calls_is_left_alone(tmp_path: Path) -> None:
    factory = f"{WORDS}{IMPORT}def make():\n{MAKE}"
    (tmp_path / "uses.py").write_text(f"{WORDS}from lib.vips import make\ndag = make()\n")
    (tmp_path / "lib").mkdir()
    assert found(tmp_path / "lib", factory) == [], "the folder above is looked at, too"
    assert passed_over(tmp_path) == []
    assert passed_over(tmp_path / "lib" / "vips.py") == []
    (tmp_path / "uses.py").write_text(f"{WORDS}from lib.vips import other\ndag = other()\n")
    for path in (tmp_path, tmp_path / "lib" / "vips.py"):
        (each,) = passed_over(path)
        assert "'make' of line 3, which nobody calls" in each.sentence


def test_a_file_that_calls_its_own_function_needs_the_words_too(tmp_path: Path) -> None:
    (each,) = found(tmp_path, f"{IMPORT}def make():\n{MAKE}dag = make()\n")
    assert (each.campaigns, NO_WORDS in each.sentence) == (("vip",), True)


def test_both_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    words, no_dag = found(tmp_path, f"{IMPORT}BadgeCampaign(name='vip')\n")
    assert (NO_WORDS in words.sentence, NO_DAG in no_dag.sentence) == (True, True)


def test_without_safe_mode_the_words_do_not_matter(tmp_path: Path) -> None:
    assert found(tmp_path, f"{IMPORT}BadgeCampaign(name='vip').dag()\n", safe_mode=False) == []
    (each,) = found(tmp_path, f"{IMPORT}BadgeCampaign(name='vip')\n", safe_mode=False)
    assert NO_DAG in each.sentence


def test_a_file_that_calls_a_factory_of_the_folder_needs_the_words_too(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "factory.py").write_text(f"{IMPORT}def made(name):\n    BadgeCampaign(name=name).dag()\n")
    (each,) = found(tmp_path, "from lib.factory import made\nmade('vip')\n")
    assert NO_WORDS in each.sentence
    assert found(tmp_path, f"{WORDS}from lib.factory import made\nmade('vip')\n") == []
    assert found(tmp_path, "from lib.factory import made\n") == []


def test_what_an_airflowignore_leaves_out_is_meant(tmp_path: Path) -> None:
    source = f"{WORDS}{IMPORT}BadgeCampaign(name='vip')\n"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "vip.py").write_text(source)
    (tmp_path / "new.py").write_text(source)
    (tmp_path / ".airflowignore").write_text("old/\n")
    assert [each.file.name for each in passed_over(tmp_path)] == ["new.py"]
    assert [each.file.name for each in passed_over(tmp_path / "old" / "vip.py")] == ["vip.py"]


def test_the_campaigns_that_come_with_the_project_are_all_read() -> None:
    assert passed_over(Path(__file__).parents[2] / "dags") == []
