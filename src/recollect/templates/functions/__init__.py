"""The functions of templates, by what they work on. Nothing here reads files, networks or secrets.

``find`` is the one door; a module is a table of ``Function``s and knows nothing of templates.
"""

from importlib import import_module

from recollect.errors import MissingExtra, closest
from recollect.templates.functions.collections import COLLECTIONS
from recollect.templates.functions.escapes import ESCAPES
from recollect.templates.functions.logic import LOGIC
from recollect.templates.functions.maths import MATHS
from recollect.templates.functions.printf import PRINTF
from recollect.templates.functions.signature import Function
from recollect.templates.functions.strings import STRINGS
from recollect.templates.functions.times import TIMES
from recollect.templates.rendering import Refusal

_PATTERN_TASKS = "Match Find FindAll Split ReplaceAll ReplaceAllLiteral QuoteMeta"
_PATTERN_NAMES = frozenset(f"regex{task}" for task in _PATTERN_TASKS.split())
_FUNCTIONS = {**LOGIC, **STRINGS, **MATHS, **COLLECTIONS, **TIMES, **ESCAPES, **PRINTF}
_NAMES = frozenset(_FUNCTIONS) | _PATTERN_NAMES | {"and", "or"}

_RANDOM = "randAlphaNum randAlpha randAscii randNumeric randBytes randInt shuffle uuidv4"
_KEY_MAKERS = (
    "bcrypt htpasswd genPrivateKey derivePassword buildCustomCert genCA genCAWithKey encryptAES "
    "decryptAES genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey"
)
_LEFT_OUT = {
    **dict.fromkeys(("env", "expandenv"), "declare the variable and read .env.NAME"),
    **dict.fromkeys(_RANDOM.split(), "a template renders the same again; pass values as input"),
    **dict.fromkeys(_KEY_MAKERS.split(), "templates make no keys or passwords"),
    "getHostByName": "templates do not use the network",
    "call": "a value of the data is never a function",
    "fail": "an error text carries no data; give the task a condition",
}
_INSTEAD = {
    "map": "use range",
    "filter": "use range with if inside",
    "group": "use range with set on a dict",
    "bool": "compare: eq .value true",
    "sort": "use sortAlpha",
    "toNumber": "use int or float64",
    "sum": "use add",
    "take": "use slice, or trunc for text",
    "urlpath": "use urlquery",
    "unique": "use uniq",
    "variance": "compute it in a tool",
    "dateAdd": "use dateModify",
    "trimall": "use trimAll",
    "parseJson": "use fromJson",
    "json": "use toJson",
    "length": "use len",
}


def find(name: str) -> Function:
    """Return the function of this name; ``mustX`` is ``x``, for here every function reports errors.

    Raises:
        Refusal: there is none; the text says what to use instead.
        MissingExtra: it needs a library that is not installed.
    """
    own = _FUNCTIONS.get(name) or _FUNCTIONS.get(_without_must(name))
    if own:
        return own
    pattern_name = _without_must(name) if name not in _PATTERN_NAMES else name
    if pattern_name in _PATTERN_NAMES:
        return _pattern_function(pattern_name)
    if reason := _LEFT_OUT.get(name):
        raise Refusal(f"the function {name!r} is left out on purpose: {reason}")
    if instead := _INSTEAD.get(name):
        raise Refusal(f"there is no function {name!r}: {instead}")
    near = closest(name, _NAMES)
    raise Refusal(f"there is no function {name!r}.{near} A value of the scope is .{name}")


def _without_must(name: str) -> str:
    return name[4:5].lower() + name[5:] if name.startswith("must") else name


def _pattern_function(name: str) -> Function:
    try:
        patterns = import_module("recollect.templates.functions.patterns")
    except ImportError:
        raise MissingExtra("template regular expressions", "workflows") from None
    found: Function = patterns.PATTERNS[name]
    return found
