"""Presets find what they are named after, and leave what only looks like it."""

import random
import re
import time
from datetime import timedelta

import pytest

from recollect.clock import ManualClock
from recollect.errors import ConfigError, PrivacyError
from recollect.memory.privacy import PRESETS, Redactor, check_pattern, matching

FOUND = {
    "email": [
        "jane.doe@example.com",
        "j+x@sub.example.co.uk",
        "jürgen@müller.de",
        "почта@пример.рф",
        "o'neil@example.org",
    ],
    "card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5555.5555.5555.4444",
        "3782 822463 10005",
        "378282246310005",
        "6011111111111117",
        "30569309025904",
        "4222222222222",
        "2223003122003222",
    ],
    "phone": [
        "+49 170 1234567",
        "+1 (555) 234-5678",
        "(555) 234-5678",
        "555-234-5678",
        "555.234.5678",
        "+442071838750",
        "0049 30 123456",
        "+33 1 23 45 67 89",
    ],
    "ssn": ["123-45-6789", "123 45 6789"],
    "ip": [
        "10.0.0.1",
        "255.255.255.255",
        "2001:db8::1",
        "fe80::1ff:fe23:4567:890a",
        "::ffff:192.168.1.1",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    ],
    "api_key": [
        "sk-proj-abcdefghij0123456789",
        "sk-ant-api03-abcdefghijklmnopqrstuv",
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 6,
        "glpat-abcdefghij0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "AIza" + "aB3" * 11 + "xy",
        "xoxb-123456789012-abcdef",
        "sk_live_abcdefgh12345678",
        "SG.abcdefghij012345.abcdefghij012345",
        "hf_" + "aB3" * 11,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc123_-",
        "0123456789abcdef" * 3,
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE/+=\n-----END RSA PRIVATE KEY-----",
    ],
    "bearer": [
        "Bearer abc.def-123",
        "bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Authorization: Basic dXNlcjpwYXNz",
        "authorization: token abcdefgh",
    ],
    "iban": [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO9386011117947",
    ],
    "routing": ["12-3456789", "021000021"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
    "case_id": ["AB-1234", "ABC-123456"],
}
LEFT = {
    "email": ["@decorator", "a @ b", "foo@bar", "user@localhost"],
    "card": [
        "4111111111111112",  # the check digit is wrong
        "1732190000000",  # milliseconds
        "0000000000000000",
        "41111111111111111111",
        "2026-11-21 12:00:00",
    ],
    "phone": [
        "2026-11-21",
        "192.168.100.200",
        "12:30:45",
        "123-45-6789",
        "4111 1111 1111 1111",
        "1 + 2 3",
        "+1 234",
    ],
    "ssn": ["1123-45-6789", "123-456-789"],
    "ip": [
        "12:30:45",
        "std::vector",
        "std::array2::x",
        "a::b",
        "999.1.1.1",
        "::",
        "de:ad:be:ef:00",
    ],
    "api_key": ["supercalifragilistic" * 3, "-" * 80, "the quick brown fox", "sk-short"],
    "bearer": ["bearer of bad news", "the bearer shall sign", "basic understanding"],
    "iban": ["DE89370400440532013001", "AB12 CDEF"],
    "routing": ["123456789", "1234567"],
    "uuid": ["123e4567-e89b-12d3-a456"],
    "case_id": ["ABCD-1234", "AB-123"],
}


def preset(*names: str) -> Redactor:
    return Redactor([f"preset:{name}" for name in names])


def test_every_preset_has_examples_here() -> None:
    assert set(FOUND) == set(LEFT) == set(PRESETS)


@pytest.mark.parametrize(("name", "text"), [(name, t) for name, ts in FOUND.items() for t in ts])
def test_a_preset_replaces_what_it_is_named_after(name: str, text: str) -> None:
    assert preset(name).redact_text(f"it: {text}, so") == ("it: [REDACTED], so", 1)


@pytest.mark.parametrize(("name", "text"), [(name, t) for name, ts in LEFT.items() for t in ts])
def test_a_preset_leaves_what_only_looks_like_it(name: str, text: str) -> None:
    assert preset(name).redact_text(f"it: {text}, so")[0] == f"it: {text}, so"


def test_a_card_number_is_found_beside_other_groups_of_digits() -> None:
    text = "2024 4111 1111 1111 1111 123 and 4111-1111-1111-1111 12/27"
    assert preset("card").redact_text(text) == ("2024 [REDACTED] 123 and [REDACTED] 12/27", 2)


def test_a_card_number_as_a_number_is_found() -> None:
    assert preset("card").redact_json({"card": 4111111111111111}) == {"card": "[REDACTED]"}


@pytest.mark.parametrize("digits", [13, 14, 15, 16, 17, 18, 19])
def test_one_check_digit_of_ten_makes_a_card(digits: int) -> None:
    """A reference of its own: doubled digits added up one by one."""
    chance = random.Random(digits)
    for _ in range(200):
        body = "4" + "".join(chance.choices("0123456789", k=digits - 2))
        total = 0
        for position, digit in enumerate(reversed(body)):
            value = int(digit) * (2 if position % 2 == 0 else 1)
            total += value // 10 + value % 10
        right = str(-total % 10)
        for last in "0123456789":
            assert preset_card.redact_text(body + last)[1] == (last == right)


preset_card = preset("card")


def test_words_in_capitals_behind_an_iban_stay() -> None:
    text = "GB82 WEST 1234 5698 7654 32 PLEASE PAY NOW"
    assert preset("iban").redact_text(text) == ("[REDACTED] PLEASE PAY NOW", 1)


def test_presets_and_patterns_work_side_by_side_in_their_order() -> None:
    redactor = Redactor(["preset:email", r"order \d+", " preset:ssn".strip()])
    text = "a@b.co has order 77 and 123-45-6789"
    assert redactor.redact_text(text) == ("[REDACTED] has [REDACTED] and [REDACTED]", 3)


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_usable_patterns(name: str) -> None:
    assert check_pattern(f"preset:{name}") is None
    assert check_pattern(f"preset: {name}") is None


def test_an_unknown_preset_names_the_closest_and_all_there_are() -> None:
    reason = str(check_pattern("preset:emial"))
    assert "no preset 'emial'. Did you mean 'email'?" in reason
    assert all(name in reason for name in PRESETS)
    with pytest.raises(ConfigError, match=r"pattern 1: there is no preset ''"):
        Redactor(["x", "preset:"])


# ---- time ----------------------------------------------------------------------------------------

UNITS = ["4444 ", "4 ", "a-", "0", "1:", "::", "F:", "1.", "+1 ", "sk-", "bearer ", "DE89 ", "a@a."]
UNITS += ["AA00 0000 ", "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaa.", "4111 1111 1111 1111 "]


@pytest.mark.parametrize("unit", UNITS)
def test_ten_times_the_text_takes_about_ten_times_as_long(unit: str) -> None:
    """Of the processor's time; by the wall clock a busy machine may take as long as it likes."""
    redactor = Redactor([f"preset:{name}" for name in PRESETS], max_seconds=3600)

    def seconds(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        taken = []
        for _ in range(2):
            start = time.thread_time()
            redactor.redact_text(text)
            taken.append(time.thread_time() - start)
        return min(taken)

    assert seconds(200_000) < 30 * seconds(20_000) + 0.01


class Ticking(ManualClock):
    """A tenth of a second goes by from look to look."""

    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        self.advance(timedelta(seconds=0.1))
        return super().monotonic()


def test_patterns_that_look_far_ahead_at_each_match_are_given_up_and_nothing_is_quoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RE2 searches in linear time, but each of 200,000 searches here reads all the rest."""
    redactor, clock = Redactor(["x.*y|x"], max_seconds=0.5), Ticking()
    monkeypatch.setattr(matching, "_clock", clock)
    assert redactor.redact_text("x" * 100)[1] == 100
    clock.looks = 0
    with pytest.raises(PrivacyError, match="looks far ahead") as caught:
        redactor.redact_text("secret" + "x" * 200_000)
    assert clock.looks <= 8, "it goes on although its time is over"
    assert not re.search("secret|xx", str(caught.value))
