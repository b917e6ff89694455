"""Secrets do not leave the machine in a bug report; what is no secret stays readable."""

from __future__ import annotations

import pytest

from energyctl.redaction import REDACTED, redact

HIDDEN = "hunter2Xyz0123"


@pytest.mark.parametrize(
    "text",
    [
        'api_key = "{}"',
        "api-key: {}",
        "OPENWEATHERMAP_API_KEY={}",
        "appid={}",
        'password = "{}"  # of the provider',
        "passwd: '{}'",
        '{{"client_secret": "{}", "x": 1}}',
        '"token":"{}"',
        "Authorization: Bearer {}",
        "Proxy-Authorization: Basic {}",
        "GET https://api.example.org/data?lat=1&appid={}&units=metric",
        "https://api.example.org/?key={}",
        "https://user:{}@example.org/path",
        "https://{}@example.org/",
        "postgresql://market:{}@db/ledger",
        "session_id={}; Path=/",
        'secret="quote \\" inside {}"',
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n{}\n(cut off)",
        'key = "{}"',
        'openweathermap_key = "{}"',
        "OWM_KEY={}",
        "pw={}",
        "energy-weather-fetch --token {}",
        "--password '{}'",
        '"api_key": ["{}"]',
        '"api_key": [\n "a",\n "{}"\n]',
        'password = """\n{}\n"""',
        '"token": {}, "x": 1',
        "password = a b {}",
        "authorization: token {}",
        'key_file = "owm.key"  # password = "{}"',
        'key_file = "{}"',
        "key_file = {}",
    ],
)
def test_a_secret_is_taken_out_and_counted(text: str) -> None:
    """In TOML, JSON, environments, headers, addresses and key files."""
    clean, count = redact(f"before\n{text.format(HIDDEN)}\nafter\n")
    assert HIDDEN not in clean
    assert REDACTED in clean
    assert count >= 1
    assert clean.startswith("before\n")


@pytest.mark.parametrize(
    "text",
    [
        'key_file = "openweathermap.key"  # a file with the key',
        "energy-weather-fetch --key-file /etc/energy-market/openweathermap.key",
        "key_file = /etc/energy-market/key  # mine",
        '{"kind": "queue", "key": "0x45010203", "owner": null}',
        '"token": null',
        "price.factor: unknown key",
        "/etc/energy-market/openweathermap.key: permission denied",
        "slot 1979184 (2026-06-12 12:00 UTC)  0.153750 = 0.143550 inertia",
        "https://api.open-meteo.com/v1/forecast?latitude=49.49&longitude=8.47",
        "homes 1 to 50 have joined (pid 4711)",
        'hash: "dbeb885933425b0c57e26beb2901f1e5"',
        "time = 12:00:00",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """A report without its facts would be no report."""
    assert redact(text) == (text, 0)


def test_what_stands_beside_a_secret_stays() -> None:
    """The name, the other parameters and the comment are what a reader needs."""
    clean, count = redact(f"GET https://h/d?lat=1&appid={HIDDEN}&units=metric\napi_key = '{HIDDEN}' # mine\n")
    assert clean == f"GET https://h/d?lat=1&appid={REDACTED}&units=metric\napi_key = {REDACTED} # mine\n"
    assert count == 2
