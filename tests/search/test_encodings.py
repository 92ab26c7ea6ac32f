"""Text of before UTF-8: read where its encoding is certain, and never as mojibake."""

from __future__ import annotations

import random

import pytest

from fastio_cli.search import chunking, extraction

TEXTS = {
    "gbk": "人工智能体需要持久的共享状态，否则它们会忘记已经做过的事情。今天我们讨论锁和版本。",
    "big5": "智慧代理需要持久的共享狀態，否則它們會忘記已經做過的事情。今天我們討論鎖和版本。",
    "shift_jis": "エージェントは忘れます。共有された状態を保存するためにロックを使います。",
    "euc_kr": "에이전트는 잊어버립니다. 공유 상태를 저장하기 위해 잠금을 사용합니다.",
    "cp1251": "Агенты забывают. Чтобы сохранить общее состояние, используются блокировки.",
    "koi8-r": "Агенты забывают. Чтобы сохранить общее состояние, используются блокировки.",
    "cp1253": "Οι πράκτορες ξεχνούν. Χρειάζονται κοινή κατάσταση και κλειδώματα.",
    "utf-16-le": "Agents forget: naïve ones most of all.",
    "utf-16-be": "Agents forget: naïve ones most of all.",
}
WESTERN = (
    "Les élèves étaient très fatigués à la fin de la journée, où ils avaient reçu un café. ",
    "Die Größe der Straße überrascht: Äpfel, Öl und Übermut. Fußgänger müssen größere Wege gehen. ",
    "El niño comió una piñata mañana; ¿cuándo vendrá el año próximo? ",
    "A situação não é fácil: ações, corações e irmãos estão lá. ",
)
CODE = "def f(x):\n    # %s\n    return x + 1\n"


@pytest.mark.parametrize("times", [1, 3, 2000])
@pytest.mark.parametrize("encoding", TEXTS)
def test_a_text_in_an_encoding_that_is_certain(encoding, times):
    text = TEXTS[encoding] * times
    data = text.encode(encoding)
    assert not chunking.is_binary(data)
    assert chunking.decode(data) == text
    assert chunking.unread(text, data) is None


@pytest.mark.parametrize("encoding", ["gbk", "big5", "shift_jis", "euc_kr"])
def test_a_comment_in_source_code(encoding):
    text = CODE % TEXTS[encoding][:14]
    assert chunking.decode(text.encode(encoding)) == text


@pytest.mark.parametrize("text", WESTERN)
@pytest.mark.parametrize("times", [1, 500])
def test_western_text_is_not_taken_for_another(text, times):
    assert chunking.decode((text * times).encode("cp1252")) == text * times


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "cp1253", "cp1255"])
def test_what_is_not_certain_is_said_and_not_shown_wrong(encoding):
    word = {"cp1253": "κλειδώματα", "cp1255": "נעילות"}.get(encoding, "блокировки")
    data = (CODE % word * 20).encode(encoding)
    read = chunking.decode(data)
    if read is not None and word not in read:
        assert not any("\x80" <= c < "\ufffd" for c in read)
        assert chunking.unread(read, data) is not None


def test_a_text_of_two_encodings_is_read_as_far_as_it_is_utf_8():
    lines = ["größer wird es".encode(), b"plain ascii, much of it, as in a log" * 3]
    data = b"\n".join([*lines * 20, "später, öfter".encode("latin-1"), *lines * 20])
    found, problem = extraction.passages("a.log", "file", data)
    assert problem is not None
    assert "encoding" in problem
    text = "".join(p.text for p in found)
    assert "größer" in text
    assert "Ã" not in text


def test_bytes_of_no_text_stay_unread():
    noise = random.Random(1)
    for data in (
        bytes(1000),
        bytes(noise.randrange(128, 256) for _ in range(5000)),
        b"".join(i.to_bytes(2, "little") for i in range(300)),
        b"".join(noise.randrange(5000).to_bytes(2, "big") for _ in range(300)),
    ):
        assert chunking.decode(data) is None
