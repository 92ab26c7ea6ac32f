"""all-MiniLM-L6-v2 in plain numpy: six transformer layers over weights read from an ONNX file.

The file holds int8 weights with a scale for every output channel; activations stay in float32, so
the vectors agree with the original model's to a cosine of 0.999. Reading the few tensors needed
takes a page of Protocol Buffers wire format (https://protobuf.dev/programming-guides/encoding/);
the ``onnx`` package would cost more time to import than a query to embed.
"""

from __future__ import annotations

import mmap
import re

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

DIMENSION = 384
HEADS = 12
LAYERS = 6
TOKENS_MAX = 256
SHORT_ROWS = 20  # of a matrix product that is small
SHORT_FEW = 4  # of those that a process may leave at
BLOCK_COLUMNS = 32
BLOCK_FLOATS_MAX = 150_000  # at once; they stay in a processor's own cache
ROOM_FLOATS = 384 * 1536  # the largest matrix
# numpy multiplies 48 rows faster than 46, in narrow blocks 14 faster than 13.
LENGTH_STEP, SHORT_LENGTH_STEP = 4, 2
BATCH_TOKENS_MAX = 1024  # larger batches leave the processor caches
_FLOAT, _INT8 = 1, 3  # TensorProto.DataType


class Model:
    """The model; ``encode`` gives one unit vector for each list of tokens."""

    def encode(self, texts: list[list[int]]) -> Array:
        """Unit vectors, one a row, in the order of ``texts``."""
        vectors = np.empty((len(texts), DIMENSION), np.float32)
        for rows in _batches([len(tokens) for tokens in texts]):
            batch = [texts[i] for i in rows]
            length = max(map(len, batch))
            step = SHORT_LENGTH_STEP if len(batch) * length <= SHORT_ROWS else LENGTH_STEP
            length = -(-length // step) * step
            tokens = np.zeros((len(batch), length), np.int64)
            mask = np.zeros(tokens.shape, np.float32)
            for i, text in enumerate(batch):
                tokens[i, : len(text)] = text
                mask[i, : len(text)] = 1
            mean = (self._forward(tokens, mask) * mask[:, :, None]).sum(1)
            vectors[rows] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return vectors

    def _forward(self, tokens: NDArray[np.int64], mask: Array) -> Array:
        """A vector for each token."""
        raise NotImplementedError


class Onnx(Model):
    """The model run by onnxruntime. Raises ``ImportError`` where that is not installed."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def _forward(self, tokens: NDArray[np.int64], mask: Array) -> Array:
        inputs = {
            "input_ids": tokens,
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": np.zeros_like(tokens),
        }
        output: Array = self._session.run(None, inputs)[0]
        return output


class MiniLM(Model):
    """The model in numpy."""

    def __init__(self, path: str) -> None:
        tensors = dict(read_tensors(path))
        self._words = tensors["inner.embeddings.word_embeddings.weight_q"]
        self._word_scales = tensors["inner.embeddings.word_embeddings.weight_scale"]
        self._positions = (
            tensors["inner.embeddings.position_embeddings.weight_q"][:TOKENS_MAX]
            * tensors["inner.embeddings.position_embeddings.weight_scale"][:TOKENS_MAX]
            + tensors["inner.embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _norm_of(tensors, "inner.embeddings")
        # The exporter numbered the weight matrices in the order they are used.
        numbers = sorted(int(n[4:-2]) for n in tensors if re.fullmatch(r"val_\d+_q", n))
        names = [f"val_{n}" for n in numbers]
        self._layers = [
            _Layer(tensors, f"inner.encoder.layer.{i}", names[6 * i : 6 * i + 6])
            for i in range(LAYERS)
        ]

    def _forward(self, tokens: NDArray[np.int64], mask: Array) -> Array:
        x: Any = (
            self._words[tokens] * self._word_scales[tokens] + self._positions[: tokens.shape[1]]
        )
        x = _normalise(x.reshape(-1, DIMENSION), *self._norm)
        blocked = ((mask - 1) * 1e9)[:, None, None, :]
        room = np.empty(ROOM_FLOATS, np.float32)
        for layer in self._layers:
            x = layer(x, blocked, room)
        vectors: Array = x.reshape(*tokens.shape, DIMENSION)
        return vectors


class _Layer:
    """One transformer layer: self-attention and a feed-forward network, each with its residual."""

    def __init__(self, tensors: dict[str, Array], name: str, matrices: list[str]) -> None:
        def weights(names: list[str], *parts: str) -> _Weights:
            biases = [tensors[f"{name}.{part}.bias"] for part in parts]
            return _Weights(tensors, names, np.concatenate(biases))

        queries_keys_values = [f"attention.self.{part}" for part in ("query", "key", "value")]
        self._looking = weights(matrices[:3], *queries_keys_values)
        self._attended = weights(matrices[3:4], "attention.output.dense")
        self._up = weights(matrices[4:5], "intermediate.dense")
        self._down = weights(matrices[5:], "output.dense")
        self._attention_norm = _norm_of(tensors, f"{name}.attention.output")
        self._norm = _norm_of(tensors, f"{name}.output")

    def __call__(self, x: Array, blocked: Array, room: Array) -> Array:
        """The tokens of all texts, one below the other; ``blocked`` says which are no text."""
        texts, length = len(blocked), blocked.shape[-1]
        heads = self._looking.times(x, room).reshape(texts, length, 3, HEADS, -1)
        query, key, value = heads.transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2)
        scores *= np.float32((DIMENSION / HEADS) ** -0.5)
        scores += blocked
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        mixed = (scores @ value).swapaxes(1, 2).reshape(x.shape)
        x = _normalise(self._attended.times(mixed, room) + x, *self._attention_norm)
        hidden = _gelu(self._up.times(x, room))
        return _normalise(self._down.times(hidden, room) + x, *self._norm)


class _Weights:
    """Matrices of weights side by side, and their bias.

    They stay as small as they are in the file and become floats in ``room`` for the moment they are
    needed, a quarter of what processor caches would have to hold otherwise. Products with few rows,
    a query's, take half the time with the columns in narrow blocks; those are made once a process
    has had some of them, and not for its first.
    """

    def __init__(self, tensors: dict[str, Array], names: list[str], bias: Array) -> None:
        self._codes = [tensors[f"{name}_q"] for name in names]
        self._scales = np.concatenate([tensors[f"{name}_scale"][0] for name in names])
        self._bias = bias
        self._blocks: Any = None
        self._short = 0

    def times(self, x: Array, room: Array) -> Any:
        """``x @ weights + bias``."""
        self._short += len(x) <= SHORT_ROWS
        if len(x) > SHORT_ROWS or self._short <= SHORT_FEW:
            product = x @ self._floats(room)
        else:
            product = self._short_product(x, room)
        product *= self._scales
        product += self._bias
        return product

    def _floats(self, room: Array) -> Array:
        width, columns = len(self._codes[0]), len(self._scales)
        floats = room[: width * columns].reshape(width, columns)
        at = 0
        for codes in self._codes:
            floats[:, at : at + codes.shape[1]] = codes
            at += codes.shape[1]
        return floats

    def _short_product(self, x: Array, room: Array) -> Array:
        if self._blocks is None:
            joint = np.concatenate(self._codes, axis=1)
            blocks = joint.reshape(len(joint), -1, BLOCK_COLUMNS).transpose(1, 0, 2)
            self._blocks = np.ascontiguousarray(blocks)
        product = np.empty((len(self._blocks), len(x), BLOCK_COLUMNS), np.float32)
        step = BLOCK_FLOATS_MAX // self._blocks[0].size
        for start in range(0, len(product), step):
            codes = self._blocks[start : start + step]
            floats = room[: codes.size].reshape(codes.shape)
            floats[...] = codes
            np.matmul(x, floats, out=product[start : start + step])
        return product.transpose(1, 0, 2).reshape(len(x), -1)


def read_tensors(path: str) -> Iterator[tuple[str, Array]]:
    """The float32 and int8 tensors of an ONNX file by name, mapped rather than read."""
    with open(path, "rb") as f:
        data = memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ))
    for number, graph in _fields(data):
        if number != 7:  # ModelProto.graph
            continue
        for number, tensor in _fields(graph):
            if number == 5:  # GraphProto.initializer
                yield from _tensor(tensor)


def _tensor(message: memoryview) -> Iterator[tuple[str, Array]]:
    shape: list[int] = []
    kind, name, raw = 0, "", None
    for number, value in _fields(message):
        if number == 1:  # dims: packed or one by one
            shape += [value] if isinstance(value, int) else list(_varints(value))
        elif number == 2:
            kind = value
        elif number == 8:
            name = bytes(value).decode()
        elif number == 9:
            raw = value
    if raw is not None and kind in (_FLOAT, _INT8):
        values: Any = np.frombuffer(raw, np.float32 if kind == _FLOAT else np.int8)
        yield name, values.reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of a message: numbers as integers, everything else as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varints(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value


def _norm_of(tensors: dict[str, Array], name: str) -> tuple[Array, Array]:
    return tensors[f"{name}.LayerNorm.weight"], tensors[f"{name}.LayerNorm.bias"]


def _normalise(x: Array, weight: Array, bias: Array) -> Array:
    """Each row by its mean and deviation, which ``mean`` would take twice as long for."""
    x -= (np.einsum("ij->i", x) / np.float32(DIMENSION))[:, None]
    variance = np.einsum("ij,ij->i", x, x) / np.float32(DIMENSION)
    x /= np.sqrt(variance + np.float32(1e-12))[:, None]
    x *= weight
    x += bias
    return x


def _gelu(x: Array) -> Array:
    """GELU in its tanh form (Hendrycks and Gimpel, 2016)."""
    inner = np.square(x)
    inner *= np.float32(0.044715)
    inner += 1
    inner *= x
    inner *= np.float32(0.7978845608)
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= np.float32(0.5)
    return inner


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Texts of like length together, so that little is padded and memory stays bounded."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > BATCH_TOKENS_MAX:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
