"""What a merge method declares, and the list of all methods.

The interface's controls, the command line's ``--param`` and the documentation are generated from
these declarations. To add a method, put one file into this package::

    @register
    class Halves(MergeMethod):
        key = "halves"
        name = "Halves"
        summary = "Takes half of every expert."
        paper = ""
        exact = True
        parameters = ()

        def merge_module(self, module, context):
            ...
"""

from __future__ import annotations

import difflib
import importlib
import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from experts.errors import SamError

if TYPE_CHECKING:
    import torch

    from experts.merging.adapters import Adapter, LoraFactors
    from experts.merging.data import MergeData

__all__ = [
    "MergeContext",
    "MergeMethod",
    "MergedModule",
    "ModuleInputs",
    "Parameter",
    "ParameterValue",
    "check_parameters",
    "get_method",
    "methods",
    "parse_parameters",
    "register",
]

ParameterValue = float | int | bool | str


@dataclass(frozen=True)
class Parameter:
    """One setting of a method.

    Attributes:
        name: identifier, as in a recipe and in ``--param name=value``.
        label: what a slider or switch is called.
        type: "choice" takes one of `choices`.
        minimum, maximum: inclusive range of "float" and "int"; None for no limit.
        default: used where a recipe says nothing.
        meaning: one or two sentences for a person who is not an engineer.
    """

    name: str
    label: str
    type: Literal["float", "int", "bool", "choice"]
    minimum: float | None
    maximum: float | None
    default: ParameterValue
    meaning: str
    choices: tuple[str, ...] = ()

    @property
    def range_text(self) -> str:
        """The allowed values in words: "a number from 0.05 to 1"."""
        if self.type == "bool":
            return "true or false"
        if self.type == "choice":
            return "one of " + ", ".join(self.choices)
        kind = "a whole number" if self.type == "int" else "a number"
        if self.minimum is not None and self.maximum is not None:
            return f"{kind} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{kind}, at least {self.minimum:g}"
        return f"{kind}, at most {self.maximum:g}" if self.maximum is not None else kind

    def check(self, value: object) -> ParameterValue:
        """`value` as this parameter's type; strings are parsed ("0.3", "yes").

        Raises:
            SamError: naming the parameter, the given value and the allowed range.
        """
        parsed = self._parse(value)
        if parsed is None:
            raise SamError(
                f"The parameter '{self.name}' was given {value!r}.",
                f"It must be {self.range_text}; {self.default} is the default.",
            )
        return parsed

    def _parse(self, value: object) -> ParameterValue | None:
        if self.type == "choice":
            return value if isinstance(value, str) and value in self.choices else None
        if self.type == "bool":
            return _parse_bool(value)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        inside = math.isfinite(number) and (
            (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
        )
        if not inside or (self.type == "int" and number != int(number)):
            return None
        return int(number) if self.type == "int" else number


def _parse_bool(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    return words.get(value.strip().lower()) if isinstance(value, str) else None


@dataclass(frozen=True)
class ModuleInputs:
    """One layer and what the selected experts do to it.

    Attributes:
        name: module path in the base model.
        experts: names of the experts that touch it, sorted; others have a zero update here.
        weights: one weight per entry of `experts`; never 0.
        factors: their factors, all with the same (out, in), on the device of the merge.
    """

    name: str
    experts: tuple[str, ...]
    weights: tuple[float, ...]
    factors: tuple[LoraFactors, ...]

    @property
    def total_rank(self) -> int:
        """R = Σ rᵢ."""
        return sum(factors.rank for factors in self.factors)


@dataclass(frozen=True)
class MergedModule:
    """A merged layer.

    Attributes:
        factors: of the result, scaling 1.
        kept: ‖result‖² (Frobenius).
        total: ‖update before it was brought to its final rank‖².
    """

    factors: LoraFactors
    kept: float
    total: float


@dataclass(frozen=True)
class MergeContext:
    """What a merge run gives to its method.

    Attributes:
        experts, weights: the whole selection, sorted by name, zero weights left out.
        parameters: all the method's parameters, checked, defaults filled in.
        rank: wanted rank of every layer, or None for R, the sum of the experts' ranks (for exact
            methods: lossless).
        device: where tensors live.
        data: what the method's `needs` says; None if that is "none".
        progress, cancelled: those of `merge`, for methods whose `prepare` takes long; the former is
            called with (steps done, steps in all, what is being done).
    """

    experts: tuple[str, ...]
    weights: tuple[float, ...]
    parameters: Mapping[str, ParameterValue]
    rank: int | None
    device: torch.device
    data: MergeData | None = None
    progress: Callable[[int, int, str], None] | None = None
    cancelled: Callable[[], bool] | None = None


@dataclass
class MergeMethod:
    """Base class of all methods: a declaration and one function. One instance serves one merge.

    Class attributes to declare:
        key: identifier in recipes.
        name: what a person sees.
        summary: one plain sentence for a person who is not an engineer.
        paper: citation or address; empty where there is none.
        needs: data needed beside the adapters (`experts.merging.data.MergeData`): the match's
            scores, unlabelled texts (those of the person, or the experts' own), or corrections.
        exact: the result is computed without approximation (before any wished truncation).
        parameters: its settings.
        state: of one run. A method whose result is Σ cᵢ·ΔWᵢ in each layer puts its coefficients
            into ``state["coefficients"]``, expert → module → cᵢ, and one that has something to say
            of its result a sentence into ``state["note"]``; `MergeResult` shows both.
        batched: `merge_group` gets all modules of one shape and summed rank together; otherwise one
            module a time (for methods that form dense matrices).
        order: position in lists.
    """

    key: ClassVar[str]
    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str] = ""
    needs: ClassVar[Literal["none", "scores", "texts", "corrections"]] = "none"
    exact: ClassVar[bool] = False
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    batched: ClassVar[bool] = False
    order: ClassVar[int] = 100

    state: dict[str, Any] = field(default_factory=dict)

    def prepare(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        """Look at all experts at once before the first group (statistics, learned weights)."""

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """Merge modules that share (out, in) and summed rank; one result each, in their order.

        One after the other, for methods that have nothing to gain from seeing them together.
        """
        return [self.merge_module(module, context) for module in group]

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Merge one module; all that a method needs that does not define `merge_group`."""
        raise NotImplementedError


_METHODS: dict[str, type[MergeMethod]] = {}


def register(method: type[MergeMethod]) -> type[MergeMethod]:
    """Class decorator that puts a method on the list.

    Raises:
        ValueError: two methods with the same key.
    """
    present = _METHODS.get(method.key)
    if present is not None and present.__qualname__ != method.__qualname__:
        raise ValueError(f"two merge methods have the key {method.key!r}")
    _METHODS[method.key] = method
    return method


def _discover() -> None:
    """Import every file of this package once, so that a new method needs no entry anywhere."""
    import experts.merging as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def methods() -> list[type[MergeMethod]]:
    """All methods, in the order in which to show them."""
    _discover()
    return sorted(_METHODS.values(), key=lambda method: (method.order, method.key))


def get_method(key: str) -> type[MergeMethod]:
    """The method called `key`.

    Raises:
        SamError: unknown key; names the nearest and all that exist.
    """
    _discover()
    if key in _METHODS:
        return _METHODS[key]
    near = difflib.get_close_matches(key, _METHODS, n=1)
    known = ", ".join(method.key for method in methods())
    raise SamError(
        f"There is no merge method '{key}'.",
        f"Did you mean '{near[0]}'? All: {known}." if near else f"Choose one of: {known}.",
    )


def check_parameters(
    method: type[MergeMethod], given: Mapping[str, object]
) -> dict[str, ParameterValue]:
    """All parameters of `method`: the given ones checked, the others at their default.

    Raises:
        SamError: an unknown parameter, or a value outside its range.
    """
    known = {parameter.name: parameter for parameter in method.parameters}
    for name in given:
        if name not in known:
            hint = f"It has: {', '.join(known)}." if known else "It has no parameters."
            raise SamError(f"The merge method '{method.key}' has no parameter '{name}'.", hint)
    return {
        name: parameter.check(given[name]) if name in given else parameter.default
        for name, parameter in known.items()
    }


def parse_parameters(
    method: type[MergeMethod], assignments: Iterable[str]
) -> dict[str, ParameterValue]:
    """Parameters from the command line, each "name=value".

    Returns:
        Only the given parameters, checked.

    Raises:
        SamError: no "=", a name given twice, an unknown name, or a value outside its range.
    """
    given: dict[str, object] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            raise SamError(
                f"'{assignment}' is not a parameter.", "Write name=value, as in density=0.3."
            )
        if name in given:
            raise SamError(f"The parameter '{name}' is given twice.", "Give it once.")
        given[name] = value.strip()
    checked = check_parameters(method, given)
    return {name: checked[name] for name in given}
