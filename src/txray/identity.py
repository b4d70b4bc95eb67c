"""Fingerprints of functions and objects: equal only if everything that determines their results is equal."""

from __future__ import annotations

import builtins
import copyreg
import dis
import functools
import importlib.util
import platform
import site
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from secrets import token_hex
from typing import Any

from txray.errors import in_one_line
from txray.tensors import tensor_bytes

UNIDENTIFIED = "unidentified: "
"""Prefix of a fingerprint that equals no other one, because something could not be identified."""

_PLAIN = (type(None), bool, int, float, complex, str, type(Ellipsis), type(NotImplemented), range, slice)
_DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
_INCIDENTAL = frozenset(
    {"__annotations__", "__dict__", "__doc__", "__firstlineno__", "__module__", "__qualname__"}
    | {"__static_attributes__", "__weakref__", "_abc_impl"}
)
"""Entries of a class that do not affect what it does, or are covered elsewhere."""


def identity_of(*values: object) -> str:
    """Return a fingerprint of functions and objects that covers everything that determines what they do.

    - Functions: qualified name, module, byte code, defaults, closure, the global names they use, and attributes.
    - Methods and `functools.partial` objects: also what they are bound to.
    - Other objects: their class and the state that Python would copy.

    The user's own classes and functions are described by their content, those of installed packages by name and package
    version. An object with a string attribute `fingerprint` is described by that string. Nothing is called except the
    methods by which Python copies objects.

    Returns:
        64 hexadecimal digits; or, if something has no state that can be described (an open file, a lock, a generator),
        `UNIDENTIFIED`, its name, and random digits, so that the fingerprint equals no other one.
    """
    try:
        return _Describer().digest(values).hex()
    except _UnidentifiedError as error:
        return _unidentified_as(str(error), token_hex(16))
    except RecursionError:
        return _unidentified_as("objects nested too deeply", token_hex(16))
    except Exception as error:  # from methods of foreign classes, and from tensors without dense values
        return _unidentified_as(
            f"something that cannot be described ({in_one_line(error, 80)})", token_hex(16)
        )


def _unidentified_as(what: str, digits: str) -> str:
    """Return a fingerprint that names what could not be identified."""
    return f"{UNIDENTIFIED}{what} [{digits}]"


def unidentified(fingerprint: str) -> str:
    """Return what a fingerprint could not identify; empty if it is complete."""
    return (
        fingerprint.removeprefix(UNIDENTIFIED).rpartition(" [")[0]
        if fingerprint.startswith(UNIDENTIFIED)
        else ""
    )


def derived(fingerprint: str, *steps: object) -> str:
    """Return the fingerprint of the result of applying `steps` to the object with this fingerprint.

    It is unidentified if the object or one of the steps is.
    """
    digits = sha256(repr((fingerprint, *steps)).encode("utf-8", "surrogatepass")).hexdigest()
    reasons = (unidentified(step) for step in (fingerprint, *steps) if isinstance(step, str))
    reason = next(filter(None, reasons), "")
    return _unidentified_as(reason, digits) if reason else digits


class _UnidentifiedError(Exception):
    """An object whose state cannot be described; the message names it."""


class _Describer:
    """Computes digests of values, each one once."""

    def __init__(self) -> None:
        self._finished: dict[
            int, tuple[bytes, object]
        ] = {}  # keeps the object alive, so that its id stays unique
        self._open: dict[int, int] = {}

    def digest(self, value: object) -> bytes:
        """Return 32 bytes that differ if the values do."""
        if type(value) in _PLAIN:
            return _hash(type(value).__name__, repr(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return _hash(type(value).__name__, bytes(value))
        key = id(value)
        if key in self._finished:
            return self._finished[key][0]
        if key in self._open:
            return _hash("inside", str(len(self._open) - self._open[key]))
        self._open[key] = len(self._open)
        try:
            digest = _hash(*self._parts(value))
        finally:
            del self._open[key]
        self._finished[key] = digest, value
        return digest

    def _parts(self, value: Any) -> Iterator[str | bytes]:
        declared = None if isinstance(value, type | types.ModuleType) else _declared_fingerprint(value)
        if declared is not None:
            yield from ("fingerprint", declared)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.CodeType):
            yield from self._code(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, types.ModuleType):
            yield from self._module(value)
        elif type(value) in (list, tuple):
            yield type(value).__name__
            yield from map(self.digest, value)
        elif type(value) in (dict, types.MappingProxyType):
            yield "dict"
            for pair in value.items():
                yield from map(self.digest, pair)
        elif type(value) in (set, frozenset):
            yield type(value).__name__
            yield from sorted(map(self.digest, value))
        elif isinstance(value, types.CellType):
            yield "cell"
            yield from map(self.digest, _content(value))
        else:
            yield from self._wrapped(value)

    def _wrapped(self, value: Any) -> Iterator[str | bytes]:
        """Describe wrappers of callables, and other objects."""
        if isinstance(value, types.MethodType):
            yield from ("method", self.digest(value.__func__), self.digest(value.__self__))
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            owner = value.__self__
            yield from ("built in", value.__qualname__)
            if owner is None:
                yield from _library(value.__module__ or "builtins") or ("",)
            else:
                yield self.digest(owner)
        elif isinstance(value, _DESCRIPTORS):
            yield from ("descriptor", value.__name__, self.digest(value.__objclass__))
        elif isinstance(value, property):
            yield "property"
            yield from map(self.digest, (value.fget, value.fset, value.fdel))
        elif isinstance(value, functools.partial):
            yield "partial"
            yield from map(self.digest, (value.func, value.args, value.keywords))
        elif isinstance(value, staticmethod | classmethod | functools._lru_cache_wrapper):
            yield from (type(value).__name__, self.digest(value.__wrapped__))
        elif isinstance(value, functools.cached_property):
            yield from ("cached property", self.digest(value.func))
        elif "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor):
            yield from ("tensor", tensor_bytes(value))
        else:
            yield from self._object(value)

    def _function(self, function: types.FunctionType) -> Iterator[str | bytes]:
        yield from ("function", str(function.__module__), function.__qualname__)
        code = function.__code__
        yield self.digest(code)
        closure = zip(code.co_freevars, function.__closure__ or (), strict=True)
        yield from map(self.digest, (function.__defaults__, function.__kwdefaults__, tuple(closure)))
        if (library := _library(_module_of(function))) is not None:
            yield from library
            return
        yield self.digest(vars(function))
        for name, *attributes in _global_names(code):
            yield ".".join((name, *attributes))
            yield from self._global(function.__globals__, name, attributes)
        for name, level in _imports(code):
            yield from self._import(name, level, function.__globals__)

    def _global(self, names: dict[str, Any], name: str, attributes: list[str]) -> Iterator[bytes]:
        if name not in names:
            yield _hash("built in" if hasattr(builtins, name) else "missing", name)
            return
        value = names[name]
        # Of the user's own module, only the attributes that are used matter.
        for attribute in attributes:
            if not isinstance(value, types.ModuleType) or _library(value.__name__) is not None:
                break
            if not hasattr(value, attribute):
                break
            value = getattr(value, attribute)
        yield self.digest(value)

    def _import(self, name: str, level: int, names: dict[str, Any]) -> Iterator[str | bytes]:
        """Describe a module that is imported within a function."""
        try:
            full = importlib.util.resolve_name("." * level + name, str(names.get("__package__") or ""))
            module = sys.modules.get(full)
            spec = None if module is not None else importlib.util.find_spec(full)
        except (ImportError, ValueError, AttributeError):
            yield from ("no module", name)
            return
        if module is not None:
            yield self.digest(module)
        else:
            yield from ("module", full, _file_hash(spec.origin if spec else None))

    def _code(self, code: types.CodeType) -> Iterator[str | bytes]:
        yield from ("code", sys.implementation.cache_tag or "", code.co_code)
        yield self.digest(code.co_consts)
        yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        yield from (repr(counts), code.co_exceptiontable)

    def _class(self, value: type) -> Iterator[str | bytes]:
        # Cython types may have a descriptor instead of a module name.
        module = value.__module__ if isinstance(value.__module__, str) else ""
        yield from ("class", module, value.__qualname__)
        if (library := _library(module)) is not None:
            yield from library
            return
        yield from map(self.digest, (type(value), *value.__bases__))
        for name, entry in sorted(vars(value).items()):
            if name not in _INCIDENTAL:
                yield from (name, self.digest(entry))

    def _module(self, module: types.ModuleType) -> Iterator[str | bytes]:
        yield from ("module", module.__name__)
        yield from _library(module.__name__) or (_file_hash(getattr(module, "__file__", None)),)

    def _object(self, value: Any) -> Iterator[str | bytes]:
        """Describe an object by the state that Python would copy."""
        kind = type(value)
        try:
            reduce = copyreg.dispatch_table.get(kind)
            reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception as error:  # from a foreign class
            raise _UnidentifiedError(f"{kind.__module__}.{kind.__qualname__}") from error
        yield from ("object", kind.__module__, kind.__qualname__)
        if isinstance(reduced, str):
            owner = str(getattr(value, "__module__", ""))
            yield from (reduced, owner)
            yield from _library(owner) or ()
            yield self.digest(kind)
            return
        make, arguments, *more = reduced
        state, items, pairs = (*more, None, None, None)[:3]
        yield from map(self.digest, (make, arguments, state))
        yield from (self.digest(None if entries is None else list(entries)) for entries in (items, pairs))


def _hash(*parts: str | bytes) -> bytes:
    digest = sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.digest()


def _declared_fingerprint(value: object) -> str | None:
    try:
        declared = getattr(value, "fingerprint", None)
    except Exception:  # from a foreign class
        return None
    if isinstance(declared, str) and (reason := unidentified(declared)):
        raise _UnidentifiedError(reason)
    return declared if isinstance(declared, str) else None


def _content(cell: types.CellType) -> tuple[object, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # the variable is not bound yet
        return ()


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of a function and of all functions nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _global_names(code: types.CodeType) -> list[tuple[str, ...]]:
    """Return the global names that the code reads, with their attributes, e.g. `("numpy", "linalg", "norm")`."""
    names: dict[tuple[str, ...], None] = {}
    for part in _nested(code):
        chain: tuple[str, ...] = ()
        for step in dis.get_instructions(part):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                names.setdefault(chain)
                chain = (str(step.argval),)
            elif chain and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                chain = (*chain, str(step.argval))
            elif step.opname not in ("CACHE", "EXTENDED_ARG"):
                names.setdefault(chain)
                chain = ()
        names.setdefault(chain)
    return [chain for chain in names if chain]


def _imports(code: types.CodeType) -> Iterator[tuple[str, int]]:
    """Yield the module name and relative level of every import in a function."""
    for part in _nested(code):
        loaded: list[Any] = []
        for step in dis.get_instructions(part):
            if step.opname == "IMPORT_NAME":
                yield str(step.argval), loaded[-2] if len(loaded) > 1 and type(loaded[-2]) is int else 0
            loaded = [*loaded[-1:], step.argval]


def _module_of(function: types.FunctionType) -> str:
    """Return the module that a function's globals belong to; empty if there is none, as in `exec`."""
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return str(name) if getattr(module, "__dict__", None) is function.__globals__ else ""


def _library(module: str) -> tuple[str, ...] | None:
    """Return the name of a module and the version of its package or of Python; None for the user's own modules."""
    installed = _version(module.partition(".")[0])
    return None if installed is None else ("library", module, installed)


@functools.cache
def _version(root: str) -> str | None:
    if root in sys.builtin_module_names or root == "builtins":
        return platform.python_version()
    module = sys.modules.get(root)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if root == "__main__" or file is None:
        return None
    if root in sys.stdlib_module_names and _is_below(file, ("stdlib", "platstdlib")):
        return platform.python_version()
    if root != __name__.partition(".")[0] and not _is_below(file, ("purelib", "platlib")):
        return None
    try:
        return version(root)
    except PackageNotFoundError:
        return str(getattr(module, "__version__", "")) or _file_hash(file)


def _is_below(file: str, names: Iterable[str]) -> bool:
    folders = [sysconfig.get_path(name) for name in names]
    if "purelib" in names:
        folders += [*site.getsitepackages(), site.getusersitepackages()]
    # A package or its folder may be a symbolic link: compare both the given and the resolved path.
    paths = {Path(file).absolute(), Path(file).resolve()}
    return any(
        path.is_relative_to(root)
        for path in paths
        for folder in folders
        for root in (Path(folder), Path(folder).resolve())
    )


def _file_hash(file: str | None) -> str:
    try:
        return sha256(Path(file or "").read_bytes()).hexdigest()
    except OSError:
        return "no file"
