"""Arrays of other libraries, by classes that stand in for them.

No GPU and none of PyTorch, CuPy and JAX is needed: the classes below have exactly the methods those libraries' arrays
have, answer `__dlpack_device__` as they do, and refuse what they refuse. What they cannot show is that a kernel has
finished before its result is read; that is up to each library's own copy to the host, which is what is called.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore.errors import PayloadTooLargeError, UnsupportedArrayError
from polystore.payload.arrays import as_host_array, check_array, checked_dtype, checked_nbytes, is_array

CPU, CUDA, CUDA_HOST = (1, 0), (2, 0), (3, 0)
IMAGE = np.arange(12, dtype="uint16").reshape(3, 4)


class TorchTensor:
    """torch.Tensor: DLPack, ``cpu``, ``detach``; no export from a device or while recording gradients."""

    def __init__(self, values: Any, device: tuple[int, int] = CPU, requires_grad: bool = False) -> None:
        self.values, self.device, self.requires_grad = values, device, requires_grad
        self.shape, self.dtype = values.shape, values.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if self.device[0] == 2:
            raise BufferError("cannot be exported to the CPU without a copy")
        return self.values.__dlpack__(**options)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.device[0] == 2:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
        return self.values

    def detach(self) -> TorchTensor:
        return TorchTensor(self.values, self.device)

    def cpu(self) -> TorchTensor:
        return TorchTensor(self.values.copy(), CPU, self.requires_grad)


class CupyArray:
    """cupy.ndarray: DLPack, ``get``; implicit conversion to NumPy is refused."""

    def __init__(self, values: Any) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        raise BufferError("GPU memory")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def get(self) -> Any:
        return self.values.copy()


class JaxArray:
    """jax.Array: immutable; DLPack on the CPU, ``__array__`` (a copy, read-only) everywhere."""

    def __init__(self, values: Any, device: tuple[int, int]) -> None:
        self.values, self.device = values.copy(), device
        self.values.flags.writeable = False
        self.shape, self.dtype = values.shape, values.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        if self.device != CPU:
            raise RuntimeError("to_dlpack: not on the CPU")
        return self.values.__dlpack__(**options)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


@pytest.mark.parametrize(
    "given",
    [
        IMAGE, TorchTensor(IMAGE), TorchTensor(IMAGE, CUDA_HOST), TorchTensor(IMAGE, CUDA), CupyArray(IMAGE),
        TorchTensor(IMAGE, CUDA, requires_grad=True), TorchTensor(IMAGE, CPU, requires_grad=True),
        JaxArray(IMAGE, CUDA),
    ],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_every_library_arrives(given: Any) -> None:
    assert is_array(given)
    array = as_host_array(given)
    assert type(array) is np.ndarray
    assert array.dtype == IMAGE.dtype
    np.testing.assert_array_equal(array, IMAGE)


def test_no_copy_where_none_is_needed() -> None:
    assert as_host_array(IMAGE) is IMAGE
    assert np.shares_memory(as_host_array(TorchTensor(IMAGE)), IMAGE)
    assert np.shares_memory(as_host_array(TorchTensor(IMAGE, requires_grad=True)), IMAGE)
    assert not np.shares_memory(as_host_array(TorchTensor(IMAGE, CUDA)), IMAGE)


def test_a_view_keeps_the_memory_alive() -> None:
    view = as_host_array(TorchTensor(np.full((100, 100), 7)))
    assert (view == 7).all()


def test_read_only_memory_is_read() -> None:
    frozen = IMAGE.copy()
    frozen.flags.writeable = False
    array = as_host_array(frozen)
    assert not array.flags.writeable
    if int(np.__version__.split(".")[0]) >= 2:  # earlier ones cannot export read-only memory at all
        jax = as_host_array(JaxArray(IMAGE, CPU))
        np.testing.assert_array_equal(jax, IMAGE)


def test_no_framework_is_imported() -> None:
    code = (
        "import sys, polystore.payload.arrays as a, numpy as np; a.as_host_array(np.zeros(3));"
        "print([name for name in ('torch', 'cupy', 'jax', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Bfloat16Tensor(TorchTensor):
    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        raise RuntimeError("Unsupported dtype bfloat16")


class Lonely(TorchTensor):
    """On a device, with no way to the host."""

    cpu = None  # type: ignore[assignment]
    __array__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ([[1, 2]], "list is no array"), ("x", "str"), (b"x", "bytes"), (None, "NoneType"), (3, "int"), ({}, "dict"),
        (np.ma.masked_array([1], [True]), "filled"), (Bfloat16Tensor(IMAGE), "bfloat16"),
        (Lonely(IMAGE, CUDA), "no way to the host"),
    ],
)  # fmt: skip
def test_what_is_no_array_is_refused_with_a_remedy(bad: Any, text: str) -> None:
    with pytest.raises(UnsupportedArrayError, match=text):
        as_host_array(bad)


def test_scalars_and_subclasses() -> None:
    assert as_host_array(np.float32(1.5)).shape == ()
    assert not is_array(np.float32(1.5))
    assert not is_array([1, 2])
    memmap_like = IMAGE.view(type("Memmap", (np.ndarray,), {}))
    assert type(as_host_array(memmap_like)) is np.ndarray


GOOD = ["?", "u1", "i2", "u4", "i8", "f2", "f4", "f8", "c8", "c16", ">u2", ">f8"]
BAD = ["O", "U3", "S3", "V4", "M8[s]", "m8[s]", [("a", "i4")]]


@pytest.mark.parametrize("dtype", GOOD)
@pytest.mark.parametrize("shape", [(), (0,), (0, 5), (3, 4), (1,) * 32])
def test_numeric_arrays_may_travel(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, dtype)
    check_array(array)
    check_array(np.asfortranarray(array))
    assert checked_nbytes(shape, array.dtype) == array.nbytes
    assert checked_dtype(array.dtype.str) == array.dtype


@pytest.mark.parametrize("dtype", BAD)
def test_others_may_not(dtype: Any) -> None:
    with pytest.raises(UnsupportedArrayError, match="dtype"):
        check_array(np.zeros(3, dtype))
    with pytest.raises(UnsupportedArrayError):
        checked_nbytes((3,), np.dtype(dtype))
    with pytest.raises(UnsupportedArrayError):
        checked_dtype(np.dtype(dtype).str)


def test_long_doubles_may_not_where_they_differ() -> None:
    for dtype in ("longdouble", "clongdouble"):
        if np.dtype(dtype).itemsize > (8 if dtype == "longdouble" else 16):
            with pytest.raises(UnsupportedArrayError, match="long double"):
                check_array(np.zeros(3, dtype))


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((2**31, 2**31), PayloadTooLargeError), ((2**63, 2**63, 2**63), PayloadTooLargeError),
        ((-1, 3), UnsupportedArrayError), ((1.5,), UnsupportedArrayError), (("3",), UnsupportedArrayError),
        ((1,) * 33, PayloadTooLargeError), ((0, 2**63), PayloadTooLargeError), ((1 << 30,), PayloadTooLargeError),
    ],
)  # fmt: skip
def test_absurd_shapes_are_refused_before_anything_is_allocated(shape: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        checked_nbytes(shape, np.dtype("u2"))


def test_the_limit_is_told() -> None:
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, "u2"), (1 << 20, 1 << 20), (0, 0))
    with pytest.raises(PayloadTooLargeError, match="POLYSTORE_MAX_IMAGE_BYTES"):
        check_array(huge)
    with pytest.raises(PayloadTooLargeError, match="the limit is 10"):
        check_array(np.zeros(11, "u1"), max_bytes=10)


@given(st.text(max_size=8) | st.from_regex(r"\A[<>|=]?[a-zA-Z?][0-9]{0,3}\Z"))
def test_a_dtype_from_a_message_holds_numbers_or_is_refused(text: str) -> None:
    try:
        dtype = checked_dtype(text)
    except UnsupportedArrayError:
        return
    assert dtype.kind in "biufc"
    assert not dtype.hasobject
    check_array(np.zeros(1, dtype))


@given(st.lists(st.integers(-3, 2**70), max_size=6), st.sampled_from(GOOD))
def test_a_shape_from_a_message_fits_or_is_refused(shape: list[int], dtype: str) -> None:
    try:
        nbytes = checked_nbytes(shape, np.dtype(dtype), max_bytes=1 << 16)
    except (PayloadTooLargeError, UnsupportedArrayError):
        return
    assert np.empty(shape, dtype).nbytes == nbytes <= 1 << 16
