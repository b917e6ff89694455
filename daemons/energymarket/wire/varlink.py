"""The varlink frame: JSON closed by a NUL byte, calls checked against the interface text, standard errors.

Protocol: varlink.org, "Method Call" and "Service". Of two equal names in one JSON object the last one
counts. What a peer may get wrong raises `Malformed` (no call at all) or `Refused` (a named error).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from energymarket.wire.interface_text import Check, Interface, Maybe, Misfit, Signature, checker, parse

SERVICE: Final = "org.varlink.service"

SERVICE_INTERFACE: Final = """\
# What every varlink service tells about itself.
interface org.varlink.service

# The implementation and the interfaces it provides.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# The text of an interface.
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
"""

INTERFACE_NOT_FOUND: Final = f"{SERVICE}.InterfaceNotFound"
METHOD_NOT_FOUND: Final = f"{SERVICE}.MethodNotFound"
METHOD_NOT_IMPLEMENTED: Final = f"{SERVICE}.MethodNotImplemented"
INVALID_PARAMETER: Final = f"{SERVICE}.InvalidParameter"
PERMISSION_DENIED: Final = f"{SERVICE}.PermissionDenied"
EXPECTED_MORE: Final = f"{SERVICE}.ExpectedMore"

ECHO_CHARACTERS_MAX: Final = 128
"""What an error repeats of a peer's words: enough to recognise them, too little to amplify a flood."""

Parameters = dict[str, Any]
"""The members of a call or an answer, by name."""


class Malformed(Exception):
    """The bytes are no call: not JSON, not an object, wrong members, too deep."""


class Refused(Exception):
    """A call that gets a named error."""

    def __init__(self, name: str, parameters: Parameters) -> None:
        super().__init__(name, parameters)
        self.name = name
        self.parameters = parameters


def invalid_parameter(parameter: str) -> Refused:
    """Refuse a call for this parameter."""
    return Refused(INVALID_PARAMETER, {"parameter": parameter[:ECHO_CHARACTERS_MAX]})


class CallFrame(msgspec.Struct, forbid_unknown_fields=True):
    """A call as it lies on the wire."""

    method: str
    parameters: Parameters | None = None
    more: bool = False
    oneway: bool = False
    upgrade: bool = False


class AnswerFrame(msgspec.Struct):
    """A reply or an error as it lies on the wire; members that later versions add are skipped."""

    parameters: Parameters | None = None
    continues: bool = False
    error: str | None = None


_CALLS: Final = msgspec.json.Decoder(CallFrame)
_ANSWERS: Final = msgspec.json.Decoder(AnswerFrame)
_JSON: Final = msgspec.json.Encoder()


def decode_call(frame: bytes) -> CallFrame:
    """Read a frame (without its NUL); raises Malformed.

    RecursionError is how msgspec refuses nesting; UnicodeDecodeError (a ValueError like its own
    errors) is how it refuses text that is not UTF-8.
    """
    try:
        return _CALLS.decode(frame)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None


def decode_answer(frame: bytes) -> AnswerFrame:
    """Read a frame (without its NUL); raises Malformed."""
    try:
        return _ANSWERS.decode(frame)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None


def encode_call(method: str, parameters: Mapping[str, Any] | None = None, *, more: bool = False) -> bytes:
    """Write a call with its NUL."""
    call: Parameters = {"method": method, "parameters": parameters or {}}
    if more:
        call["more"] = True
    return _JSON.encode(call) + b"\0"


def encode_reply(parameters: Mapping[str, Any] | None = None, *, continues: bool = False) -> bytes:
    """Write a reply with its NUL."""
    body = _JSON.encode(parameters) if parameters else b"{}"
    if continues:
        return b'{"parameters":%b,"continues":true}\0' % body
    return b'{"parameters":%b}\0' % body


def encode_error(name: str, parameters: Mapping[str, Any] | None = None) -> bytes:
    """Write an error with its NUL."""
    return b'{"error":%b,"parameters":%b}\0' % (_JSON.encode(name), _JSON.encode(parameters or {}))


class Method:
    """One method of a service: its name and the checks of its parameters."""

    __slots__ = ("_check_answers", "_check_takes", "_optional", "introspects", "name", "takes_nothing")

    def __init__(self, interface: Interface, name: str, signature: Signature) -> None:
        self.introspects = interface.name == SERVICE
        self.name = f"{interface.name}.{name}"
        self.takes_nothing = not signature.takes.fields
        self._check_takes = checker(interface, signature.takes)
        self._check_answers = checker(interface, signature.answers)
        self._optional = {name: None for name, of in signature.takes.fields if isinstance(of, Maybe)}

    def accept(self, parameters: Parameters | None) -> Parameters:
        """Check a call's parameters; absent optional ones are None in the answer. Raises Refused."""
        if self.takes_nothing and not parameters:
            return {}
        taken = parameters if parameters is not None else {}
        try:
            self._check_takes(taken, "")
        except Misfit as misfit:
            raise invalid_parameter(misfit.path) from None
        except RecursionError:  # a type that contains itself, nested without end
            raise invalid_parameter("parameters") from None
        return {**self._optional, **taken} if self._optional else taken

    def check_answer(self, parameters: Mapping[str, Any]) -> None:
        """Raise Misfit if an answer is not what the interface text promises."""
        self._check_answers(parameters, "")


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made the service, for GetInfo."""

    vendor: str
    product: str
    version: str
    url: str


class Service:
    """The methods behind one socket, found by their full names; introspection is answered here."""

    def __init__(self, maker: Maker, texts: Iterable[str]) -> None:
        self.maker = maker
        parsed = [parse(SERVICE_INTERFACE), *map(parse, texts)]
        self.interfaces: dict[str, Interface] = {interface.name: interface for interface in parsed}
        self.methods: dict[str, Method] = {
            method.name: method
            for interface in parsed
            for method in (
                Method(interface, name, signature) for name, signature in interface.methods.items()
            )
        }

    def find(self, name: str) -> Method:
        """The method of a full name; raises Refused."""
        method = self.methods.get(name)
        if method is not None:
            return method
        interface, _, _ = name.rpartition(".")
        if interface in self.interfaces:
            raise Refused(METHOD_NOT_FOUND, {"method": name[:ECHO_CHARACTERS_MAX]})
        raise Refused(INTERFACE_NOT_FOUND, {"interface": interface[:ECHO_CHARACTERS_MAX]})

    @cached_property
    def errors(self) -> Mapping[str, Check]:
        """The check of each declared error's parameters, by its full name."""
        return {
            f"{interface.name}.{name}": checker(interface, members)
            for interface in self.interfaces.values()
            for name, members in interface.errors.items()
        }

    def error_named(self, member: str) -> str | None:
        """The full name of the first declared error of this short name."""
        return next((name for name in self.errors if name.rpartition(".")[2] == member), None)

    def introspect(self, method: str, parameters: Parameters) -> Parameters:
        """Answer a method of org.varlink.service; raises Refused."""
        if method == f"{SERVICE}.GetInfo":
            maker = self.maker
            return {
                "vendor": maker.vendor,
                "product": maker.product,
                "version": maker.version,
                "url": maker.url,
                "interfaces": list(self.interfaces),
            }
        asked = parameters["interface"]
        if asked not in self.interfaces:
            raise Refused(INTERFACE_NOT_FOUND, {"interface": asked[:ECHO_CHARACTERS_MAX]})
        return {"description": self.interfaces[asked].text}
