"""Tokens -> statements and expressions. Everything that can be refused early is refused here."""

from collections.abc import Mapping
from typing import NoReturn

import msgspec

from recollect.errors import TemplateError, TemplateSyntaxError, closest
from recollect.templates.dates import seems_concrete
from recollect.templates.expressions import (
    Assignment,
    Call,
    Choice,
    Dot,
    Expression,
    Literal,
    Method,
    Path,
    Variable,
)
from recollect.templates.functions import find
from recollect.templates.lexer import Token, lex
from recollect.templates.rendering import MAX_NESTING, Refusal, located
from recollect.templates.statements import Action, Body, Conditional, Jump, Range, Statement, Text

_CONSTANTS: Mapping[str, bool | None] = {"true": True, "false": False, "nil": None}
_NOT_BUILT = frozenset({"define", "template", "block"})
_INFIX = {
    "+": "add a b",
    "-": "sub a b",
    "*": "mul a b",
    "/": "div a b",
    "%": "mod a b",
    "==": "eq a b",
    "!=": "ne a b",
    "<": "lt a b",
    "<=": "le a b",
    ">": "gt a b",
    ">=": "ge a b",
    "&&": "and a b",
    "||": "or a b",
    "!": "not a",
    "?": "{{ if a }}b{{ else }}c{{ end }}",
    ":": "{{ if a }}b{{ else }}c{{ end }}",
}
_CHOICES = {"and": False, "or": True}
_LAYOUT_FUNCTIONS = frozenset({"date", "dateInZone", "date_in_zone"})
_LONGEST_PIPELINE = 20


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """``roots`` are the names read from the scope; ``notes`` are doubts about what was meant."""

    body: Body
    slots: int
    roots: frozenset[str]
    notes: tuple[str, ...]


def parse_body(template: str) -> Parsed:
    """Read a whole template.

    Raises:
        TemplateSyntaxError: it is not a template of our dialect; the text says where and what.
        MissingExtra: it uses a function whose library is not installed.
    """
    parser = _Parser(template)
    body, _ = parser.body(closed_by=())
    return Parsed(
        body=body,
        slots=parser.slots,
        roots=frozenset(parser.roots),
        notes=tuple(parser.notes),
    )


class _Name(Expression, frozen=True, kw_only=True):
    """A function's name before its arguments are known; ``given`` if it was called as f(x)."""

    name: str
    given: tuple[Expression, ...] = ()

    def value(self, rendering: object, dot: object) -> NoReturn:
        raise NotImplementedError


class _Parser:
    def __init__(self, template: str) -> None:
        self.slots = 0
        self.roots: set[str] = set()
        self.notes: list[str] = []
        self._template = template
        self._tokens = lex(template)
        self._at = 0
        self._variables: list[tuple[str, int]] = [("$", 0)]
        self._depth = self._ranges = self._dots = 0

    # Statements

    def body(self, *, closed_by: tuple[str, ...], opener: Token | None = None) -> tuple[Body, str]:
        """Read statements up to a closing word, which is taken too."""
        statements: list[Statement] = []
        while self._at < len(self._tokens):
            token = self._next()
            if token.kind == "text":
                statements.append(Text(at=token.at, text=str(token.value)))
                continue
            word = self._peek()
            if word.kind == "word" and word.value in {"else", "end"}:
                self._next()
                if word.value not in closed_by:
                    raise self._error(word, f"{{{{ {word.value} }}}} closes nothing here")
                return tuple(statements), str(word.value)
            statements.append(self._statement(token))
        if opener:
            raise self._error(opener, f"{opener.value} is not closed: {{{{ end }}}} is missing")
        return tuple(statements), ""

    def _statement(self, begin: Token) -> Statement:
        word = self._peek()
        match word.value if word.kind == "word" else None:
            case "if" | "with":
                return self._conditional(self._next())
            case "range":
                return self._range(self._next())
            case "break" | "continue":
                self._next()
                if not self._ranges:
                    raise self._error(word, f"{word.value} stands outside of a range")
                self._expect_end()
                return Jump(at=word.at, leaves=word.value == "break")
            case str(name) if name in _NOT_BUILT:
                raise self._error(
                    word, f"{name} is not supported: write the text where it is needed"
                )
            case _:
                return self._action(begin)

    def _action(self, begin: Token) -> Statement:
        expression = self._pipeline(declares=True)
        self._expect_end()
        return Action(at=begin.at, expression=expression)

    def _conditional(self, opener: Token) -> Statement:
        known = len(self._variables)
        sets_dot = opener.value == "with"
        branches: list[tuple[Expression, Body]] = []
        otherwise: Body = ()
        stop = "else"
        self._enter(opener)
        while stop == "else":
            condition = self._pipeline(declares=True)
            self._expect_end()
            self._dots += sets_dot
            body, stop = self._block(opener, "else", "end")
            self._dots -= sets_dot
            branches.append((condition, body))
            if stop == "else" and self._peek().value != opener.value:
                self._expect_end()
                otherwise, stop = self._block(opener, "end")
            elif stop == "else":
                self._next()
        self._expect_end()
        self._leave(known)
        return Conditional(
            at=opener.at, branches=tuple(branches), otherwise=otherwise, sets_dot=sets_dot
        )

    def _range(self, opener: Token) -> Statement:
        known = len(self._variables)
        self._enter(opener)
        names = self._range_variables()
        source = self._pipeline()
        self._expect_end()
        slots = [self._declare(name) for name in names]
        self._ranges += 1
        self._dots += 1
        body, stop = self._block(opener, "else", "end")
        self._ranges -= 1
        self._dots -= 1
        otherwise: Body = ()
        if stop == "else":
            self._expect_end()
            otherwise, _ = self._block(opener, "end")
        self._expect_end()
        self._leave(known)
        return Range(
            at=opener.at,
            source=source,
            key_slot=slots[0] if len(slots) > 1 else None,
            item_slot=slots[-1] if slots else None,
            body=body,
            otherwise=otherwise,
        )

    def _block(self, opener: Token, *closed_by: str) -> tuple[Body, str]:
        known = len(self._variables)
        found = self.body(closed_by=closed_by, opener=opener)
        del self._variables[known:]
        return found

    def _range_variables(self) -> list[str]:
        ahead = self._tokens[self._at : self._at + 4]
        shape = [t.kind if t.kind == "variable" else str(t.value) for t in ahead]
        count = 2 if shape == ["variable", ",", "variable", ":="] else 0
        count = 1 if shape[:2] == ["variable", ":="] else count
        self._at += 2 * count
        return [str(t.value) for t in ahead[: 2 * count : 2]]

    # Expressions

    def _pipeline(self, *, declares: bool = False) -> Expression:
        token = self._peek()
        sign = self._tokens[self._at + 1] if token.kind == "variable" else token
        if declares and token.kind == "variable" and sign.value in {":=", "="}:
            self._at += 2
            source = self._pipeline()
            name = str(token.value)
            slot = self._declare(name) if sign.value == ":=" else self._slot(token)
            return Assignment(at=token.at, slot=slot, source=source)
        expression = self._command(None)
        for _ in range(_LONGEST_PIPELINE):
            if not self._take("|"):
                return expression
            expression = self._command(expression)
        raise self._error(token, f"a pipeline of more than {_LONGEST_PIPELINE} commands")

    def _command(self, piped: Expression | None) -> Expression:
        head = self._operand()
        arguments: list[Expression] = []
        while self._begins_operand():
            if self._peek().glued:
                raise self._error(self._peek(), "a space is missing before this")
            arguments.append(self._closed(self._operand()))
        if piped:
            arguments.append(piped)
        if isinstance(head, _Name):
            return self._call(head.name, (*head.given, *arguments), head.at)
        if isinstance(head, Literal) and head.constant is None:
            raise self._error_at(head.at, "nil stands alone: it can only be an argument")
        if not arguments:
            return head
        if isinstance(head, Path):
            return Method(at=head.at, path=head, arguments=tuple(arguments))
        raise self._error_at(head.at, "this is not a function and cannot be given arguments")

    def _operand(self) -> Expression:
        token = self._next()
        match token.kind, token.value:
            case "value", constant:
                return Literal(at=token.at, constant=constant)
            case "field", name:
                return self._steps(Dot(at=token.at), token.at, str(name))
            case "variable", name:
                return self._steps(
                    Variable(at=token.at, name=str(name), slot=self._slot(token)), token.at
                )
            case "word", str(name) if name in _CONSTANTS:
                return Literal(at=token.at, constant=_CONSTANTS[name])
            case "word", name:
                return self._steps(self._name(token), token.at)
            case "mark", ".":
                return self._steps(Dot(at=token.at), token.at)
            case "mark", "(":
                self._enter(token)
                inside = self._pipeline()
                self._expect(")", token)
                self._depth -= 1
                return self._steps(inside, token.at)
        raise self._unexpected(token)

    def _name(self, token: Token) -> Expression:
        name, given = str(token.value), []
        if self._peek().glued and self._take("("):
            self._enter(token)
            while not self._take(")"):
                given.append(self._pipeline())
                if not self._take(",") and self._peek().value != ")":
                    self._expect(")", token)
            self._depth -= 1
        return _Name(at=token.at, name=name, given=tuple(given))

    def _steps(self, root: Expression, at: int, *first: str) -> Expression:
        steps: list[str | Expression] = list(first)
        while self._peek().glued and (self._peek().kind == "field" or self._peek().value == "["):
            steps.append(str(self._next().value) if self._peek().kind == "field" else self._key())
        if not steps:
            return root
        self._note_root(root, steps[0])
        root = self._closed(root)
        if isinstance(root, Path):
            return Path(at=at, root=root.root, steps=(*root.steps, *steps))
        return Path(at=at, root=root, steps=tuple(steps))

    def _key(self) -> str | Expression:
        opener = self._next()
        self._enter(opener)
        key = self._pipeline()
        self._expect("]", opener)
        self._depth -= 1
        if isinstance(key, Literal) and isinstance(key.constant, (str, int)):
            return str(key.constant)
        return key

    def _closed(self, expression: Expression) -> Expression:
        """A name that got no arguments is a call without any."""
        if isinstance(expression, _Name):
            return self._call(expression.name, expression.given, expression.at)
        return expression

    def _call(self, name: str, arguments: tuple[Expression, ...], at: int) -> Expression:
        if name in _CHOICES:
            if not arguments:
                raise self._error_at(at, f"{name} takes at least 1 argument, 0 given")
            return Choice(at=at, stops_at=_CHOICES[name], arguments=arguments)
        try:
            function = find(name)
        except Refusal as why:
            raise self._error_at(at, str(why)) from None
        if wrong := function.wrong_count(len(arguments)):
            raise self._error_at(at, f"{name} {wrong}")
        first = arguments[0] if arguments else None
        if isinstance(first, Literal):
            self._check_first(name, first)
        return Call(at=at, name=name, function=function, arguments=arguments)

    def _check_first(self, name: str, first: Literal) -> None:
        if name == "index" and first.constant is None:
            raise self._error_at(first.at, "index of nil")
        if name in _LAYOUT_FUNCTIONS and seems_concrete(str(first.constant)):
            self.notes.append(
                f"{name}: {first.constant!r} looks like a date, not like a layout; a layout is "
                "the reference time 2006-01-02 15:04:05 written as the date is to look"
            )

    def _note_root(self, root: Expression, step: str | Expression) -> None:
        from_scope = self._dots == 0 if isinstance(root, Dot) else False
        if isinstance(root, Variable):
            from_scope = root.slot == 0
        if from_scope and isinstance(step, str):
            self.roots.add(step)

    # Variables, nesting, tokens

    def _declare(self, name: str) -> int:
        self.slots += 1
        self._variables.append((name, self.slots))
        return self.slots

    def _slot(self, token: Token) -> int:
        for name, slot in reversed(self._variables):
            if name == token.value:
                return slot
        near = closest(str(token.value), [name for name, slot in self._variables if slot])
        raise self._error(token, f"the variable {token.value} is not declared here.{near}")

    def _enter(self, opener: Token) -> None:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._error(
                opener, f"blocks and parentheses are nested deeper than {MAX_NESTING}"
            )

    def _leave(self, known: int) -> None:
        self._depth -= 1
        del self._variables[known:]

    def _begins_operand(self) -> bool:
        token = self._peek()
        return token.kind not in {"mark", "end"} or token.value in {"(", "."}

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, mark: str) -> bool:
        token = self._peek()
        taken = token.kind == "mark" and token.value == mark
        self._at += taken
        return taken

    def _expect(self, mark: str, opener: Token) -> None:
        if self._peek().kind == "end":
            raise self._error(opener, f"{mark} is missing")
        if not self._take(mark):
            raise self._unexpected(self._peek())

    def _expect_end(self) -> None:
        token = self._next()
        if token.kind != "end":
            raise self._unexpected(token)

    def _unexpected(self, token: Token) -> TemplateError:
        if token.kind == "end":
            return self._error(token, "an expression is missing before }}")
        if form := _INFIX.get(str(token.value)) if token.kind == "mark" else None:
            return self._error(token, f"{token.value!r} is no operator of templates: write {form}")
        return self._error(token, f"unexpected {token.value!r}")

    def _error(self, token: Token, message: str) -> TemplateError:
        return self._error_at(token.at, message)

    def _error_at(self, at: int, message: str) -> TemplateError:
        return located(TemplateSyntaxError, self._template, at, message)
