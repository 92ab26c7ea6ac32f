"""all-MiniLM-L6-v2 in plain numpy: six transformer layers with the weights of an ONNX file.

The file has int8 weights with a scale for every output channel; activations are float32, so that
the vectors agree with the original model's to a cosine of 0.999. The tensors are read by a small
parser of the Protocol Buffers wire format (https://protobuf.dev/programming-guides/encoding/):
importing the ``onnx`` package would take longer than embedding a query.
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
MATRIX_SIZE_MAX = 384 * 1536
LENGTH_STEP = 4  # texts are padded to a multiple of it: numpy multiplies 48 rows faster than 46
BATCH_TOKENS_MAX = 1024  # larger batches exceed the processor's caches
_FLOAT, _INT8 = 1, 3  # TensorProto.DataType


class Model:
    """The model: token ids to vectors."""

    def encode(self, texts: list[list[int]]) -> Array:
        """One unit vector for each list of token ids, in their order."""
        vectors = np.empty((len(texts), DIMENSION), np.float32)
        for rows in _batches([len(tokens) for tokens in texts]):
            batch = [texts[i] for i in rows]
            length = -(-max(map(len, batch)) // LENGTH_STEP) * LENGTH_STEP
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


class OnnxModel(Model):
    """The model run by onnxruntime. Raises ``ImportError`` if that is not installed."""

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


class NumpyModel(Model):
    """The model run by numpy."""

    def __init__(self, path: str) -> None:
        tensors = dict(read_tensors(path))
        self._token_codes = tensors["inner.embeddings.word_embeddings.weight_q"]
        self._token_scales = tensors["inner.embeddings.word_embeddings.weight_scale"]
        self._position_embeddings = (
            tensors["inner.embeddings.position_embeddings.weight_q"][:TOKENS_MAX]
            * tensors["inner.embeddings.position_embeddings.weight_scale"][:TOKENS_MAX]
            + tensors["inner.embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _norm_of(tensors, "inner.embeddings")
        # The exporter numbered the weight matrices in the order of their use.
        numbers = sorted(int(n[4:-2]) for n in tensors if re.fullmatch(r"val_\d+_q", n))
        names = [f"val_{n}" for n in numbers]
        self._layers = [
            _Layer(tensors, f"inner.encoder.layer.{i}", names[6 * i : 6 * i + 6])
            for i in range(LAYERS)
        ]

    def _forward(self, tokens: NDArray[np.int64], mask: Array) -> Array:
        x: Array = self._token_codes[tokens] * self._token_scales[tokens]
        x = x + self._position_embeddings[: tokens.shape[1]]
        x = _layer_norm(x.reshape(-1, DIMENSION), *self._norm)
        attention_bias = ((mask - 1) * 1e9)[:, None, None, :]
        scratch = np.empty(MATRIX_SIZE_MAX, np.float32)
        for layer in self._layers:
            x = layer(x, attention_bias, scratch)
        return x.reshape(*tokens.shape, DIMENSION)


class _Layer:
    """One transformer layer: self-attention and a feed-forward network, each with its residual."""

    def __init__(self, tensors: dict[str, Array], name: str, matrices: list[str]) -> None:
        def weights(names: list[str], *parts: str) -> _Weights:
            biases = [tensors[f"{name}.{part}.bias"] for part in parts]
            return _Weights(tensors, names, np.concatenate(biases))

        qkv = [f"attention.self.{part}" for part in ("query", "key", "value")]
        self._qkv = weights(matrices[:3], *qkv)
        self._attention_output = weights(matrices[3:4], "attention.output.dense")
        self._up = weights(matrices[4:5], "intermediate.dense")
        self._down = weights(matrices[5:], "output.dense")
        self._attention_norm = _norm_of(tensors, f"{name}.attention.output")
        self._norm = _norm_of(tensors, f"{name}.output")

    def __call__(self, x: Array, attention_bias: Array, scratch: Array) -> Array:
        """``x`` has a row for each token of each text; ``attention_bias`` masks the padding."""
        texts, length = len(attention_bias), attention_bias.shape[-1]
        heads = self._qkv.apply(x, scratch).reshape(texts, length, 3, HEADS, -1)
        query, key, value = heads.transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2)
        scores *= np.float32((DIMENSION / HEADS) ** -0.5)
        scores += attention_bias
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        mixed = (scores @ value).swapaxes(1, 2).reshape(x.shape)
        x = _layer_norm(self._attention_output.apply(mixed, scratch) + x, *self._attention_norm)
        hidden = _gelu(self._up.apply(x, scratch))
        return _layer_norm(self._down.apply(hidden, scratch) + x, *self._norm)


class _Weights:
    """Weight matrices side by side, and their bias.

    They stay int8, as in the file, and become floats in a scratch buffer when they are used: that
    needs a quarter of the processor's caches.
    """

    def __init__(self, tensors: dict[str, Array], names: list[str], bias: Array) -> None:
        self._codes = [tensors[f"{name}_q"] for name in names]
        self._scales = np.concatenate([tensors[f"{name}_scale"][0] for name in names])
        self._bias = bias

    def apply(self, x: Array, scratch: Array) -> Array:
        """``x @ weights + bias``."""
        product: Array = x @ self._as_floats(scratch)
        product *= self._scales
        product += self._bias
        return product

    def _as_floats(self, scratch: Array) -> Array:
        rows, columns = len(self._codes[0]), len(self._scales)
        return np.concatenate(
            self._codes, axis=1, out=scratch[: rows * columns].reshape(rows, columns)
        )


def read_tensors(path: str) -> Iterator[tuple[str, Array]]:
    """The float32 and int8 tensors of an ONNX file by name, memory-mapped."""
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


def _layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """Layer normalisation of each row; ``einsum`` is twice as fast as ``mean``."""
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
    """The texts in batches of similar length, so that little is padded and memory is bounded."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > BATCH_TOKENS_MAX:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
