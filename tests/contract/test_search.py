"""Search: what is written is found, what is gone is not, and nobody finds another's."""

from __future__ import annotations

import io
import zipfile

import pytest

from fastio_cli.errors import FastioError
from fastio_cli.operations.search import CONVERSATION
from fastio_cli.search import indexer
from fastio_cli.search.embedding import FEW_TEXTS
from fastio_cli.search.hits import MERGED_CHARACTERS_MAX

NOTES = """# Pricing

We decided to raise the price of the basic plan to twelve euros.

# Team

Anna joins the company in May.
"""


def paths(caller, query, **params):
    return [m["path"] for m in caller("search.query", query=query, **params)["items"]]


def words(caller, query, **params):
    return paths(caller, query, mode="lexical", **params)


def test_what_was_written_is_found_by_its_words_and_by_its_meaning(caller):
    caller.put("notes/pricing.md", NOTES.encode())
    caller("state.set", path="plan.json", value={"supplier": "Acme", "status": "waiting"})
    assert words(caller, "acme") == ["plan.json"]
    assert paths(caller, "how much does it cost?")[0] == "notes/pricing.md"
    assert paths(caller, "how much does it cost?", mode="semantic")[0] == "notes/pricing.md"


def test_a_match_says_where_it_stands_and_what_matched(caller):
    caller.put("notes/pricing.md", NOTES.encode())
    match = caller("search.query", query="prices", mode="lexical", merge=False)["items"][0]
    assert (match["path"], match["version"], match["kind"]) == ("notes/pricing.md", 1, "file")
    assert match["location"] == {"line": 1, "end_line": 3, "page": None, "pointer": None}
    assert match["heading"] == "Pricing"
    matched = [match["snippet"][first:last] for first, last in match["highlights"]]
    assert matched == ["Pricing", "price"]


def test_a_state_object_is_found_at_a_json_pointer(caller):
    steps = [{"title": f"step {i}", "text": f"Measure the {i}th sample twice."} for i in range(30)]
    steps[17]["text"] = "Calibrate the spectrometer before anything else is measured."
    caller("state.set", path="plan.json", value={"steps": steps})
    (match, *_) = caller("search.query", query="spectrometer", mode="lexical")["items"]
    assert match["location"]["pointer"] == "/steps/17"


def test_results_follow_every_change(caller):
    caller("state.set", path="a.json", value="the heron stands in the reeds")
    assert words(caller, "heron") == ["a.json"]
    caller("state.set", path="a.json", value="the badger sleeps")
    assert words(caller, "heron") == []
    assert words(caller, "badger") == ["a.json"]
    caller("object.move", path="a.json", to="b.json")
    assert words(caller, "badger") == ["b.json"]
    caller("object.delete", path="b.json")
    assert words(caller, "badger") == paths(caller, "badger") == []
    caller("object.restore", path="b.json")
    assert words(caller, "badger") == ["b.json"]
    caller("object.restore", path="a.json", version=1)
    assert words(caller, "heron") == ["a.json"]


def test_what_is_appended_to_a_file_is_found(caller):
    caller.put("log.txt", b"The first line.\n")
    assert words(caller, "walrus") == []
    caller.append("log.txt", b"A walrus came by.\n")
    (match,) = caller("search.query", query="walrus", mode="lexical")["items"]
    assert match["version"] == 2


def test_large_files_in_blobs_are_read(caller):
    filler = "\n\n".join(f"Paragraph {i} speaks of nothing at all." for i in range(5000))
    caller.put("big.txt", f"{filler}\n\nThe narwhal is here.\n".encode())
    match = caller("search.query", query="narwhal", mode="lexical")["items"][0]
    assert match["location"]["end_line"] == 10001


def test_filters_apply_before_ranking(timed, clock):
    for i in range(40):
        timed("state.set", path=f"noise/{i}.json", value="otter otter otter")
    timed.put("notes/one.txt", b"An otter, once, among many other words that are not about it.")
    clock.advance(3600)
    timed("state.set", path="new.json", value="A new otter.")
    assert words(timed, "otter", path="notes/*", limit=1) == ["notes/one.txt"]
    assert paths(timed, "otter", path="notes/*", limit=1) == ["notes/one.txt"]
    assert words(timed, "otter", kind="file") == ["notes/one.txt"]
    assert words(timed, "otter", since_s=60) == ["new.json"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", {"a/b.txt", "a/c.txt", "a/[bx].txt", "a+b.md", "A/b.txt", "a_b%.md", "日.txt"}),
        ("a/*", {"a/b.txt", "a/c.txt", "a/[bx].txt"}),
        ("a/?.txt", {"a/b.txt", "a/c.txt"}),
        ("a?b*", {"a/b.txt", "a+b.md", "a_b%.md"}),
        ("a/[bx].txt", {"a/[bx].txt"}),
        ("a/[^b].txt", set()),
        ("a[+]b.md", set()),
        ("*.md", {"a+b.md", "a_b%.md"}),
        ("a_b%.md", {"a_b%.md"}),
        ("?.txt", {"日.txt"}),
        (".*", set()),
        ("a/[z-a].txt", set()),
        ("a/(b|c).txt", set()),
        ("\\*", set()),
    ],
)
def test_patterns_of_paths_mean_the_same_on_every_store(caller, pattern, expected):
    for path in ("a/b.txt", "a/c.txt", "a/[bx].txt", "a+b.md", "A/b.txt", "a_b%.md", "日.txt"):
        caller.put(path, b"otter")
    assert set(words(caller, "otter", path=pattern)) == expected


def test_neighbouring_passages_are_one_result(caller):
    turns = "\n".join(f"Ada: The giraffe counted to {i} and then went on." for i in range(6))
    caller.put("talk.txt", turns.encode())
    merged = caller("search.query", query="giraffe", mode="lexical")["items"]
    single = caller("search.query", query="giraffe", mode="lexical", merge=False)["items"]
    assert [m["location"]["line"] for m in merged] == [1]
    assert merged[0]["location"]["end_line"] == 6
    assert sorted(m["location"]["line"] for m in single) == [1, 2, 3, 4, 5, 6]


def test_explain_shows_the_terms_and_the_parts(caller):
    caller("state.set", path="a.json", value="the heron stands in the reeds")
    page = caller("search.query", query="Where does the heron stand?", explain=True)
    assert page["explain"]["terms"] == ["heron", "stand"]
    parts = page["items"][0]["parts"]
    assert parts["bm25"] is not None
    assert -1 <= parts["cosine"] <= 1
    assert page["items"][0]["score"] == pytest.approx(
        parts["lexical"] + parts["semantic"], abs=1e-5
    )


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("東京都は日本の首都である。", "日本の首都"),
        ("서울은 대한민국의 수도이다", "수도"),
        ("กรุงเทพเป็นเมืองหลวง", "เมืองหลวง"),
        ("Ein schöner Tag in Zürich", "zurich"),
        ("def getUserName(self): pass", "user name"),
        ("def getUserName(self): pass", "getUserName"),
        ("call parse_http_header now", "parse_http_header"),
        ("Москва является столицей", "столицей"),
    ],
)
def test_every_script_is_found(caller, text, query):
    caller("state.set", path="other.json", value="nothing of the kind")
    caller.put("it.txt", text.encode())
    assert words(caller, query) == ["it.txt"]
    (match,) = caller("search.query", query=query, mode="lexical")["items"]
    assert match["snippet"] == text


def test_workspaces_do_not_see_each_other(caller):
    caller("workspace.create", name="other")
    caller("state.set", path="mine.json", value="the pelican is mine")
    caller("state.set", workspace="other", path="theirs.json", value="the pelican is theirs")
    for mode in ("lexical", "semantic", "hybrid"):
        assert paths(caller, "pelican", mode=mode) == ["mine.json"]
        assert paths(caller, "pelican", mode=mode, workspace="other") == ["theirs.json"]
    answer = caller("search.ask", question="Whose is the pelican?")
    assert {c["path"] for c in answer["citations"]} == {"mine.json"}


@pytest.mark.parametrize("mode", ["lexical", "semantic", "hybrid"])
def test_all_workspaces_are_searched_at_once(caller, mode):
    """A word that is rare in one workspace does not put what has fewer of the words first."""
    for i in range(8):
        caller("state.set", path=f"v{i}.json", value=f"vault {i}")
        caller("state.set", path=f"c{i}.json", value=f"a cellar {i}")
    for name in ("small", "off"):
        caller("workspace.create", name=name)
        caller("state.set", path="t.json", value="the passphrase of the vault", workspace=name)
    caller("workspace.intelligence", enabled=False, workspace="off")
    page = caller(
        "search.query_all", query="passphrase of the vault", mode=mode, limit=5, explain=True
    )
    places = [(item["workspace"], item["path"]) for item in page["items"]]
    assert places[0] == ("small", "t.json")
    assert len(places) == 5
    assert {name for name, _ in places} == {"small", "default"}
    assert set(page["explain"]) == {"small", "default"}
    assert page["mode"] == mode
    scores = [item["score"] for item in page["items"]]
    assert scores == sorted(scores, reverse=True)
    for item in page["items"]:
        parts = item["parts"]
        assert abs(item["score"] - parts["lexical"] - parts["semantic"]) < 1e-5


def test_a_search_of_all_workspaces_takes_filters_and_finds_nothing_where_nothing_is(caller):
    assert caller("search.query_all", query="vault")["items"] == []
    caller("state.set", path="a/v.json", value="vault")
    caller("state.set", path="b/v.json", value="vault")
    page = caller("search.query_all", query="vault", path="b/*", mode="lexical")
    assert [item["path"] for item in page["items"]] == ["b/v.json"]


def test_a_loaded_model_finds_what_was_written_since(caller):
    """Once the model is loaded a query stays within its read, but for what is new."""
    for number in range(2 * FEW_TEXTS):
        caller("state.set", path=f"{number}.json", value=f"heron number {number} in the reeds")
        for _ in range(2):
            found = caller("search.query", query=f"heron number {number}", limit=1)
            assert (found["items"][0]["path"], found["mode"]) == (f"{number}.json", "hybrid")
            assert (found["pending"], found["note"]) == (0, None)
    caller("object.delete", path="0.json")
    assert "0.json" not in paths(caller, "heron number 0")


def test_intelligence_off_leaves_nothing_and_on_brings_it_back(caller):
    caller("state.set", path="a.json", value="the heron stands in the reeds")
    assert paths(caller, "heron") == ["a.json"]
    assert caller("workspace.intelligence", enabled=False) == {
        "workspace": "default",
        "enabled": False,
    }
    status = caller("index.status")
    assert (status["enabled"], status["objects"], status["passages"]) == (False, 0, 0)
    caller("state.set", path="b.json", value="another heron")
    assert caller.refused("invalid", "search.query", query="heron").details["reason"] == (
        "intelligence_off"
    )
    assert caller("index.update")["passages"] == 0
    caller("workspace.intelligence", enabled=True)
    assert sorted(paths(caller, "heron")) == ["a.json", "b.json"]


def test_the_index_can_be_dropped_and_comes_back_the_same(caller):
    for i in range(20):
        caller("state.set", path=f"{i}.json", value=f"number {i} is a heron")

    def scores():
        items = caller("search.query", query="heron number 7")["items"]
        return {m["path"]: m["score"] for m in items}

    # Two runtimes of the model, of which each may have made some vectors, agree nearly.
    before = pytest.approx(scores(), abs=0.01)
    assert caller("index.clear")["passages"] == 0
    assert scores() == before
    caller("index.rebuild")
    assert scores() == before


def test_status_tells_how_far_the_index_is(caller):
    caller("state.set", path="a.json", value="one")
    assert caller("index.status")["indexed_seq"] == 0
    status = caller("index.update")
    assert status["indexed_seq"] == status["seq"] == 1
    assert (status["objects"], status["passages"], status["pending"]) == (1, 1, 0)
    assert status["model"].startswith("all-MiniLM-L6-v2")


def test_an_index_of_another_format_or_model_is_made_anew(caller, monkeypatch):
    caller("state.set", path="a.json", value="the heron stands in the reeds")
    assert paths(caller, "heron") == ["a.json"]
    caller.backend.tamper("update search_indexes set model = 'another'")
    assert caller("search.query", query="heron", mode="semantic")["items"]
    assert caller("index.status")["model"].startswith("all-MiniLM-L6-v2")
    monkeypatch.setattr(indexer, "INDEX_FORMAT", "0")
    assert paths(caller, "heron") == ["a.json"]
    status = caller("index.status")
    assert (status["objects"], status["passages"], status["pending"]) == (1, 1, 0)


def test_a_file_that_cannot_be_read_is_reported_and_stops_nothing(caller):
    caller.put("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4)
    caller.put("broken.pdf", b"%PDF-1.7\nnot really")
    caller("state.set", path="a.json", value="the heron stands in the reeds")
    assert words(caller, "heron") == ["a.json"]
    problems = {p["path"]: p["problem"] for p in caller("index.status")["problems"]}
    assert problems.keys() == {"picture.png", "broken.pdf"}
    assert problems["broken.pdf"] == "It is not a valid PDF."


@pytest.mark.parametrize(
    "query",
    [
        '"', "a OR", "NEAR(", "a AND NOT b", "col:x", "* ^ - + ( ) { }", "😀🎉", "'; drop table x",
        "-- /* */", "\\", "%", "a" * 8000, "\u200b", "\ufeff", "and the of", "x\ny\tz", "\x00a",
    ],
)  # fmt: skip
def test_no_query_breaks_the_search(caller, query):
    caller("state.set", path="a.json", value="the heron stands; drop table x")
    for mode in ("lexical", "semantic", "hybrid"):
        assert isinstance(caller("search.query", query=query, mode=mode)["items"], list)


@pytest.mark.parametrize("query", ["", "   ", "\x00", "x" * 100_000, "\ud800", 5, None])
def test_what_is_no_query_is_refused(caller, query):
    for operation, name in (("search.query", "query"), ("search.ask", "question")):
        caller.refused("invalid", operation, **{name: query})


def test_pages_are_not_merged_into_one_place(caller):
    drawing = "http://schemas.openxmlformats.org/drawingml/2006/main"
    slide = f'<a:x xmlns:a="{drawing}"><a:p><a:t>the heron of slide {{}}</a:t></a:p></a:x>'
    caller.put("a.pptx", zipped({f"ppt/slides/slide{i}.xml": slide.format(i) for i in (1, 2, 3)}))
    found = caller("search.query", query="heron", mode="lexical")["items"]
    assert sorted(m["location"]["page"] for m in found) == [1, 2, 3]


def zipped(parts):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in parts.items():
            archive.writestr(name, body)
    return data.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 1000,
        b"nul \x00 in heron text",
        b"\xff\xfe" + "heron in sixteen".encode("utf-16-le"),
        b"\xed\xa0\x80 lone surrogate heron",
        b"{" * 5000,
        b"a" * 500_000,
        ("\u200b" * 2000 + "heron").encode(),
        b"[" * 950 + b"1" + b"]" * 950,
        b'{"a":' * 300 + b'"\\ud800"' + b"}" * 300,
        b'"\r\n' * 3000,
        b"; drop table passages; --' or 1=1 " * 50,
        "\u202eevil \x1b]0;title\x07 {{7*7}} ${jndi:ldap://x}".encode(),
    ],
)
def test_no_content_breaks_the_index(caller, body):
    for name in ("a.txt", "a.md", "a.json", "a.jsonl", "a.csv", "a.html", "a.eml"):
        caller.put(name, body)
    caller("state.set", path="good.json", value="the heron stands")
    assert "good.json" in words(caller, "heron")
    status = caller("index.update")  # some of it gets its vectors too
    assert status["indexed_seq"] == status["seq"]
    assert status["pending"] < status["passages"]


def test_an_answer_is_made_of_cited_sentences(caller):
    caller.put(
        "suppliers.md", b"# Suppliers\n\nAcme asks 40 euros. Bolt is cheapest at 31 euros.\n"
    )
    caller("state.set", path="a.json", value="the heron stands in the reeds")
    answer = caller("search.ask", question="Which supplier is the cheapest?")
    assert answer["found"]
    assert "Bolt is cheapest at 31 euros. [1]" in answer["answer"]
    assert answer["citations"][0]["path"] == "suppliers.md"
    assert answer["citations"][0]["version"] == 1
    nothing = caller("search.ask", question="What is the boiling point of tungsten?")
    assert (nothing["found"], nothing["citations"]) == (False, [])
    assert nothing["answer"] == "Not found in the workspace."


def test_a_record_is_one_sentence(caller):
    for name, price in (("Acme", 40), ("Bolt", 31)):
        caller("state.set", path=f"{name}.json", value={"supplier": name, "price_eur": price})
    answer = caller("search.ask", question="What is the price of the supplier Bolt?")
    assert "supplier: Bolt; price_eur: 31 [1]" in answer["answer"]
    assert answer["citations"][0]["path"] == "Bolt.json"


def test_a_question_that_leans_on_the_one_before_is_looked_for_with_it(caller):
    caller.put("suppliers.md", b"Bolt is the cheapest supplier at 31 euros.\n")
    caller.put("team.md", b"Anna joins the company in May.\n")
    turn = {"question": "Who is the cheapest supplier?", "answer": "Bolt is, at 31 euros [1]."}
    assert not caller("search.ask", question="And why is that?")["found"]
    answer = caller("search.ask", question="And why is that?", history=[turn])
    assert [c["path"] for c in answer["citations"]] == ["suppliers.md"]
    answer = caller("search.ask", question="When does Anna join the company?", history=[turn])
    assert [c["path"] for c in answer["citations"]] == ["team.md"]


def test_the_conversation_itself_is_no_source(caller):
    caller("state.set", path="chat.json", value=[{"question": "x", "answer": "Bolt is cheapest."}])
    answer = caller("search.ask", question="Who is cheapest?", exclude="chat.json")
    assert not answer["found"]
    assert caller("search.ask", question="Who is cheapest?")["found"]


def test_what_was_answered_in_any_conversation_is_no_source(caller):
    turn = {"question": "Who is cheapest?", "answer": "Bolt is cheapest [7]."}
    caller("state.init", path="chat.json", value=[turn], schema=CONVERSATION)
    caller("state.append", path="chat.json", value=turn)
    caller("object.copy", path="chat.json", to="copy.json")
    assert not caller("search.ask", question="Who is cheapest?")["found"]
    caller("state.set", path="faq.json", value=[turn])
    answer = caller("search.ask", question="Who is cheapest?")
    assert {c["path"] for c in answer["citations"]} == {"faq.json"}
    assert "[7]" not in answer["answer"]


def test_a_conversation_is_kept_and_is_its_own_history(caller):
    caller.put("suppliers.md", b"Bolt is the cheapest supplier at 31 euros.\n")
    caller.put("team.md", b"Anna joins the company in May.\n")
    first = caller("search.converse", path="chat.json", question="Who is the cheapest supplier?")
    second = caller("search.converse", path="chat.json", question="And why is that?")
    for answer in (first, second):
        assert [c["path"] for c in answer["citations"]] == ["suppliers.md"]
    assert caller.value("chat.json") == [
        {"question": a["question"], "answer": a["answer"]} for a in (first, second)
    ]
    assert [e["type"] for e in caller.events()][-2:] == ["state.init", "state.append"]
    kept = caller("search.converse", path="x.json", question="When does Anna join?", within="t*")
    assert [c["path"] for c in kept["citations"]] == ["team.md"]


def test_a_turn_that_is_asked_for_again_is_kept_once(caller):
    caller.put("suppliers.md", b"Bolt is the cheapest supplier at 31 euros.\n")
    turn = {"path": "chat.json", "question": "Who is the cheapest supplier?", "key": "k"}
    assert caller("search.converse", **turn) == caller("search.converse", **turn)
    assert len(caller.value("chat.json")) == 1


def test_what_is_no_conversation_stays_as_it_is(caller):
    caller("state.set", path="plan.json", value={"step": 1})
    caller.put("f.md", b"text")
    for path in ("plan.json", "f.md"):
        caller.refused("invalid", "search.converse", path=path, question="What?")
    caller("state.set", path="empty.json", value=[])
    caller("search.converse", path="empty.json", question="What?")
    assert len(caller.value("empty.json")) == 1
    lock = caller("lock.acquire", path="chat.json", actor="bob")
    caller.refused("locked", "search.converse", path="chat.json", question="What?")
    held = {"path": "chat.json", "lock_token": lock["token"]}
    caller("search.converse", question="What?", **held)
    assert len(caller.value("chat.json")) == 1


def test_copies_take_one_place_among_the_sources(caller):
    for i in range(10):
        caller.put(f"copy{i}.md", b"Bolt is the  cheapest supplier.\n"[: 31 + i % 2])
    caller("state.set", path="a.json", value="Bolt, a supplier, is in Brno.")
    answer = caller("search.ask", question="Which supplier is Bolt?")
    assert [c["path"] for c in answer["citations"]][1:] == ["a.json"]


@pytest.mark.parametrize(
    ("question", "field"),
    [("how many replicas are there?", "replicas: 3"), ("is darkMode enabled?", "darkMode: yes")],
)
def test_one_field_of_a_record_answers(caller, question, field):
    value = {"region": "eu", "replicas": 3, "feature_flags": {"darkMode": True}}
    caller("state.set", path="config.json", value=value)
    assert field in caller("search.ask", question=question)["answer"]


def test_a_sentence_far_below_the_best_is_left_out(caller):
    caller.put("a.md", b"The puppy is called Luna.\n")
    caller.put("b.md", b"The cat is named Tom.\n")
    answer = caller("search.ask", question="What is the puppy called?")["answer"]
    assert answer == "The puppy is called Luna. [1]"


def test_a_context_pack_begins_with_the_summary_and_keeps_its_budget(caller):
    summary = {"task": "pricing", "decided": ["raise the basic plan"]}
    caller("state.set", path="session_summary.json", value=summary)
    for i in range(40):
        caller.put(
            f"notes/{i}.md", f"# Note {i}\n\nPricing idea {i}: {'more words ' * 40}\n".encode()
        )
    for budget in (64, 200, 1000):
        pack = caller("search.context", query="continue the pricing task", budget=budget)
        assert pack["tokens"] <= budget
        assert pack["text"].startswith("# session_summary.json (version 1)\n")
    assert len(pack["citations"]) > 2
    assert "session_summary.json" not in {c["path"] for c in pack["citations"]}
    bodies = [part for part in pack["text"].split("\n[") if part]
    assert len(bodies) == len(set(bodies))


def test_the_summary_may_be_any_object_and_has_to_be_there_if_it_is_named(caller):
    caller("state.set", path="a.json", value="the heron stands in the reeds")
    caller.put("brief.md", b"# Brief\n\nWatch the heron.\n")
    caller.append("brief.md", b"Say when it flies.\n")
    pack = caller("search.context", query="heron", summary="brief.md")
    assert pack["text"].startswith("# brief.md (version 2)\n# Brief\n\nWatch the heron.\nSay when")
    assert [c["path"] for c in pack["citations"]] == ["a.json"]
    assert caller("search.context", query="heron")["text"].startswith("\n[1] ")
    caller.refused("not_found", "search.context", query="heron", summary="none.json")
    caller("object.delete", path="brief.md")
    caller.refused("not_found", "search.context", query="heron", summary="brief.md")


def test_a_context_pack_holds_only_the_newest_version_and_nothing_twice(caller):
    caller("state.set", path="plan.json", value={"step": "count the herons at dawn"})
    caller("state.set", path="plan.json", value={"step": "count the herons at dusk"})
    caller.put("one.md", b"The herons are counted twice a day.\n")
    caller.put("copy.md", b"The herons  are counted\ntwice a day.\n")
    pack = caller("search.context", query="count the herons")
    assert "dusk" in pack["text"]
    assert "dawn" not in pack["text"]
    assert pack["text"].lower().count("twice a day") == 1
    assert "plan.json (version 2)" in pack["text"]


def test_the_recipe_of_a_small_summary_and_details_in_separate_files(caller):
    """A session goes on from a summary; its details are found when they are needed."""
    caller("state.set", path="session_summary.json", value={"goal": "choose a supplier", "step": 1})
    caller("state.set", path="details/acme.json", value={"name": "Acme", "price_eur": 40})
    caller("state.set", path="details/bolt.json", value={"name": "Bolt", "price_eur": 31})
    caller("state.patch", path="session_summary.json", patch={"step": 2})
    pack = caller("search.context", query="price of the supplier Bolt", budget=300)
    assert '"step":2' in pack["text"]
    assert pack["citations"][0]["path"] == "details/bolt.json"


def test_without_a_model_search_is_by_words_and_says_so(caller, monkeypatch):
    monkeypatch.setattr("fastio_cli.search.embedding.MiniLMEmbedder", _missing)
    caller("state.set", path="a.json", value="the heron stands in the reeds")
    page = caller("search.query", query="heron")
    assert (page["mode"], len(page["items"])) == ("lexical", 1)
    assert "fastio-durable[search]" in page["note"]
    caller.refused("unavailable", "search.query", query="heron", mode="semantic")
    assert caller("search.ask", question="Where does the heron stand?")["found"]


def _missing():
    raise ImportError


def test_unknown_workspaces_are_refused(caller):
    with pytest.raises(FastioError, match="There is no workspace"):
        caller("search.query", workspace="nowhere", query="x")


def test_a_context_pack_takes_what_fits_of_a_long_answer(caller):
    steps = "\n\n".join(
        f"Step {i} of repairing the zeppelin: patch hole {i} of its hull with cloth, then wait for "
        "the glue to dry, and write down in the log which of the cells was opened for it."
        for i in range(40)
    )
    caller.put("manual.md", f"# How to repair the zeppelin\n\n{steps}\n".encode())
    caller.put("party.md", b"The party on the zeppelin was loud.\n")
    for budget in (200, 800):
        pack = caller("search.context", query="how do I repair the zeppelin?", budget=budget)
        assert budget // 2 < pack["tokens"] <= budget
        assert pack["citations"][0]["path"] == "manual.md"


def test_as_many_places_as_asked_for_are_found_and_none_is_long(caller):
    for i in range(4):
        steps = "\n\n".join(
            f"Step {j} of repairing the zeppelin: patch hole {j} of the hull with cloth. " * 4
            for j in range(12)
        )
        caller.put(f"manual{i}.md", steps.encode())
    for limit in (3, 8):
        items = caller("search.query", query="zeppelin repair step", limit=limit)["items"]
        assert len(items) == limit
        assert max(len(m["snippet"]) for m in items) <= MERGED_CHARACTERS_MAX + 10


def test_a_date_is_one_word_and_has_a_month(caller):
    for day in ("2024-03-06", "2024-06-03", "2024-11-19", "2024-11-06", "2019-11-24"):
        text = f"# Meeting, {day}\n\nThe plan was discussed, and 2024 figures of 19 teams.\n"
        caller.put(f"notes/{day}-meeting.md", text.encode())
    caller(
        "state.set", path="other.json", value="the budget of 2024 has 11 lines, 19 of 2024, 3 of 6"
    )
    for day in ("2024-03-06", "2024-06-03", "2024-11-19", "2024-11-06"):
        for mode in ("lexical", "hybrid"):
            assert paths(caller, f"notes from {day}", mode=mode)[0] == f"notes/{day}-meeting.md"
    assert paths(caller, "the meeting in March", mode="lexical")[0] == "notes/2024-03-06-meeting.md"
