"""The explorer in a browser: links, search, keys; hostile names stay text; the page's policy is in force."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from viewed_study import viewed

from qloc.analysis.exploring import explore
from qloc.exploration.exploration import Exploration
from qloc.reports.render import render
from qloc.simulation.simulate import simulate

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"

DRIVER = """
const facts = () => [...document.querySelectorAll('#explorer [data-part=list] a')];
const key = (node, name) => node.dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true}));
const later = () => new Promise((done) => setTimeout(done, 50));
const heading = () => document.querySelector('#explorer h3')?.textContent;
(async () => {
  const seen = {};
  const search = document.getElementById('explorer-search'), only = document.getElementById('explorer-only');
  const write = (text) => { search.value = text; search.dispatchEvent(new Event('input')); };
  location.hash = '#f=' + encodeURIComponent(FIRST); await later();
  seen.first = heading(); seen.all = facts().length; seen.focused = document.activeElement.dataset.part;
  key(document.body, '/'); seen.slash = document.activeElement.id;
  document.activeElement.blur();
  const view = document.querySelector('#explorer [data-part=view]');
  key(view, 'j'); await later(); seen.next = heading();
  key(view, 'k'); await later(); seen.previous = heading();
  seen.current = facts().findIndex((a) => a.hasAttribute('aria-current'));
  write(SUBJECT); seen.one = facts().map((a) => a.textContent);
  key(search, 'ArrowDown'); seen.down = facts().indexOf(document.activeElement);
  key(document.activeElement, 'ArrowUp'); seen.up = document.activeElement.id;
  key(search, 'Enter'); await later(); seen.entered = heading();
  write(NEURON); seen.neuron = facts()[0].textContent; facts()[0].click(); await later(); seen.opened = heading();
  seen.counts = view.querySelector('h3 + p').textContent;
  seen.tokens = [...document.querySelectorAll('#explorer .tokens')].map((p) => [...p.children].map((node) => node.textContent));
  write(''); seen.status = document.querySelector('#explorer [data-part=status]').textContent; only.click(); seen.only = facts().length;
  location.hash = '#t=' + encodeURIComponent(TEMPLATE); await later(); seen.template = heading();
  location.hash = '#f=none'; await later(); seen.none = view.textContent;
  const pre = document.createElement('pre'); pre.id = 'seen'; pre.textContent = JSON.stringify(seen); document.body.append(pre);
})();
"""


@pytest.fixture(scope="module")
def explored() -> Exploration:
    found = explore(simulate(facts=24, relations=3, templates=3, seed=2))
    hostile = replace(found.facts[1], subject=HOSTILE, arms=((-2.0, -9.0), (-1.0, -4.0), (0.5, 2.0)))
    neuron = found.shared[0][0]
    return replace(
        found,
        facts=(found.facts[0], hostile, *found.facts[2:]),
        arms=("suppress, own", "suppress, own_minus_neighbor", "suppress, reprompt"),
        words=(HOSTILE, " Paris"),
        tokens=((neuron, (1, 0), (0,)),),
        n_facts=found.n_facts - 1,
        n_pairs=1,
        pairs=(found.facts[-1].id,),
        shared=((neuron, 2), (neuron + 1, 3)),
        shared_by_pairs=((neuron, 1),),
    )


@pytest.fixture(scope="module")
def page(bare, explored: Exploration) -> str:
    return render([bare], "html", [explored])


def browsed(page: str, folder: Path, fragment: str = "") -> tuple[str, list[str]]:
    """Return the page's elements after its scripts ran, and what the browser said on its console."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [
        str(CHROMIUM),
        *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"),
        *(
            "--virtual-time-budget=5000",
            f"--user-data-dir={folder / 'profile'}",
            f"{path.as_uri()}{fragment}",
        ),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


def test_only_the_explorer_runs(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[A-Za-z0-9+/=]{44}'", policy[1]
    )
    assert len(re.findall("<script", page)) == 2  # the data and the code
    assert HOSTILE not in page


def test_equal_explorations_give_equal_pages(bare, explored: Exploration, page: str) -> None:
    assert render([bare], "html", [explored]) == page


def test_a_page_without_explorations_has_no_script(bare) -> None:
    assert "<script" not in render([bare], "html")
    assert "script-src" not in render([bare], "html")


def test_other_formats_have_no_explorer(bare, explored: Exploration) -> None:
    assert render([bare], "json", [explored]) == render([bare], "json")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_link_leads_to_a_fact_under_the_page_s_policy(
    page: str, explored: Exploration, tmp_path: Path
) -> None:
    hostile = explored.facts[1]
    shown, console = browsed(page, tmp_path, f"#s=1&f={hostile.id}")
    assert console == []
    assert "<title>run" not in shown
    assert "&lt;/script&gt;&lt;script&gt;" in shown
    for query in hostile.queries:
        assert query.prompt in shown
    assert shown.count('class="strip"') == sum(score is not None for score in hostile.scores)
    assert re.search(r'<table class="heat">', shown)
    for name in ("own", "own − neighbor", "re-prompt"):
        assert f'<th scope="row">{name}</th>' in shown
    answers = any(query.candidates for query in hostile.queries)
    assert ("Likeliest answers of the relation</th>" in shown) is answers


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_group_of_minimal_pairs_is_named_by_its_paradigm_and_feature(
    bare, explored: Exploration, tmp_path: Path
) -> None:
    group = replace(explored.facts[-1], subject="plural", object="plural", relation="noun_number")
    found = replace(explored, facts=(*explored.facts[:-1], group), pairs=(group.id,))
    shown, console = browsed(render([bare], "html", [found]), tmp_path, f"#s=1&f={group.id}")
    assert console == []
    assert "<h3>noun number: plural</h3>" in shown
    assert "<span>noun number: plural</span><small>minimal pairs</small>" in shown
    assert "plural → plural" not in shown


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_search_keys_and_links(page: str, explored: Exploration, tmp_path: Path) -> None:
    facts, neuron = explored.facts, explored.shared[0][0]
    label = f"L{neuron // explored.n_neurons}.N{neuron % explored.n_neurons}"
    given = {
        "FIRST": facts[0].id,
        "SUBJECT": facts[-1].id.upper(),
        "NEURON": label.lower(),
        "TEMPLATE": explored.templates[1],
    }
    constants = "".join(f"const {name} = {json.dumps(value)};" for name, value in given.items())
    free = re.sub(r"<meta http-equiv[^>]*>", "", page)  # the policy would not let the driver run
    driven = free.replace("</body>", f"<script>{constants}{DRIVER}</script></body>")
    shown, console = browsed(driven, tmp_path)
    assert console == []
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', shown, re.S)[1]))  # type: ignore[index]
    name = [f"{fact.subject} → {fact.object}" for fact in facts]
    inconsistent = sum(fact.inconsistent is True for fact in facts)
    assert seen["first"] == name[0]
    assert (seen["all"], seen["focused"], seen["slash"]) == (len(facts), "view", "explorer-search")
    assert (seen["previous"], seen["current"]) == (name[0], 0)
    assert len(seen["one"]) == 1
    assert seen["one"][0].startswith(name[-1])
    assert (seen["down"], seen["up"], seen["entered"]) == (0, "explorer-search", name[-1])
    assert (seen["neuron"], seen["opened"]) == (f"{label}neuron", label)
    assert seen["tokens"] == [["Promotes ", " Paris", HOSTILE], ["Suppresses ", HOSTILE]]
    n = explored.n_facts
    assert seen["status"] == f"{n} facts and 1 group of minimal pairs"
    assert seen["counts"] == (
        f"A knowledge neuron of 2 of the study's {n} facts ({100 * 2 / n:.1f}%) and of 1 of the study's 1 group "
        "of minimal pairs (100.0%), counting queries that are answered right. Of the 2 neurons of facts here, 1 "
        "is shared by more. Of the 1 neuron of groups of minimal pairs here, none is shared by more. So many "
        "groups of minimal pairs share it that it says little of any one: a hub."
    )
    assert seen["only"] == inconsistent
    assert seen["template"] == explored.templates[1]
    assert seen["none"] == "There is no such fact, neuron or template here."


SWITCH = """
const later = () => new Promise((done) => setTimeout(done, 50));
const cells = (kind) => [...document.querySelectorAll('#explorer table.' + kind + ' td')].filter((td) => td.textContent);
(async () => {
  const seen = {};
  location.hash = '#f=' + encodeURIComponent(FACT); await later();
  const radios = [...document.querySelectorAll('#explorer input[name=heat]')];
  seen.choices = radios.map((radio) => radio.value);
  for (const radio of radios) {
    radio.click(); await later();
    seen[radio.value] = cells('heat:not(.attention)').map((td) => td.textContent);
  }
  seen.attention = cells('attention').map((td) => td.textContent);
  seen.framed = cells('attention').filter((td) => td.className === 'in').length;
  const select = [...document.querySelectorAll('#explorer select')].at(-1);
  seen.prompts = [...select.options].map((option) => option.textContent);
  select.value = '1'; select.dispatchEvent(new Event('change')); await later();
  seen.second = cells('attention').map((td) => td.textContent);
  const pre = document.createElement('pre'); pre.id = 'seen'; pre.textContent = JSON.stringify(seen); document.body.append(pre);
})();
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_viewed_fact_switches_to_suppressed_synapses_and_shows_attention(bare, tmp_path: Path) -> None:
    study = simulate(facts=20, relations=2, templates=4, seed=6)
    row = int(np.flatnonzero(study.column("facts", "leaks") == 0)[3])
    found = explore(viewed(study, [row]))
    (fact,) = (fact for fact in found.facts if fact.activation_after)
    free = re.sub(r"<meta http-equiv[^>]*>", "", render([bare], "html", [found]))
    given = f"const FACT = {json.dumps(fact.id)};"
    shown, console = browsed(free.replace("</body>", f"<script>{given}{SWITCH}</script></body>"), tmp_path)
    assert console == []
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', shown, re.S)[1]))  # type: ignore[index]
    assert seen["choices"] == ["attribution", "activation", "activation-after", "product", "product-after"]
    for name, values, digits in (
        ("activation-after", fact.activation_after, 1),
        ("product-after", fact.product_after, 0),
    ):
        told = [text.replace("−", "-") for text in seen[name]]
        flat = [value for values_of in values for value in values_of]
        assert len(told) == len(flat)
        for text, value in zip(told, flat, strict=True):
            assert value is None or abs(float(text) - value) <= 0.51 * 10**-digits
    first, second, *_ = [query for query in fact.queries if query.attention]
    assert seen["prompts"] == [query.prompt for query in fact.queries if query.attention]
    for query, name in ((first, "attention"), (second, "second")):
        shares = [share for _, _, row_, _ in query.attention for share in row_]
        assert [float(text) for text in seen[name]] == pytest.approx([s / 1000 for s in shares], abs=0.0051)
    assert seen["framed"] == sum(len(synapses) for *_, synapses in first.attention)
