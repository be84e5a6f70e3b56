"""Campaign files that Airflow passes over without a word are named with what to write; all others are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.utils.file import might_contain_dag_via_default_heuristic

from capillary.check.dag_discovery import PassedOver, passed_over

IMPORT = "from capillary.campaign import BadgeCampaign\n"
WORDS = '"""An Airflow DAG."""\n'
NO_WORDS = "the words airflow and dag do not both stand in it"
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
