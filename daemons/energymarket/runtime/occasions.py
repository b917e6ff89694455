"""Occasions an administrator may act on: each has a MESSAGE_ID, and a text in the journal's catalog.

    log.error("the ledger cannot be written: %s", reason, extra=Occasion.LEDGER_FAILED.fields())

`journalctl MESSAGE_ID=...` finds them, `journalctl -x` explains them.
"""

from __future__ import annotations

from enum import Enum


class Occasion(Enum):
    """What happened; the value is its MESSAGE_ID, made once by `systemd-id128 new` and never changed."""

    CONFIGURATION_REFUSED = "dca3fb16bce8463ba3e49d3109244a9f"
    UNIT_FAILED = "4f3dce7f7a2f48699f7525aaeb73289d"
    LEDGER_FAILED = "0e8bb4af84ec4771b2e402a6382090da"
    LEDGER_RECOVERED = "b70ab2a03ceb4d0fa2b85d4b0090d62f"
    EXTERNAL_DIED = "53b3163b86de459286dc8c4c88507ba4"
    EXTERNAL_FROZEN = "a32977e4292c4e7ab7cd5b0756037244"
    WEATHER_STALE = "a8042aa1dfb54b4eae90151fc25c6bff"
    WEATHER_FRESH = "b9e9156d0bc2497796493550203563bb"
    SHARD_DIED = "f9fdd33b7b0d46359c27c63ef54d0c90"
    SHARD_FROZEN = "62ba86feaeb046d7930e1658ec6e1250"
    HOME_LEFT = "5e535dc220d44273a85e1a2bee8196c0"
    RELOADED = "f67a6e85a29f4238862dc12fa4ee94c8"
    RELOAD_REFUSED = "752171843c174bb0a07e9dfcd5cdda7a"
    EVENT_CHANGED = "ef7520c397b5450f8712f9f5197443cb"
    CHECK_FOUND = "24e257948b844ce1a8e0148bdc4d3ad8"
    QUEUE_FROZEN = "25e989b37ba84b959b19b27c4da4618c"
    SLOT_TAKEN_BACK = "318dcfd0bb3a4a2ca8239ceb216314cd"
    BROKER_AWAY = "57da2f863ba2eb44109d6ee2e84aaf56"
    SPOOL_FULL = "82641d4bff4f945227724e1c02fbc648"
    SAMPLES_NOT_WRITTEN = "3a079906e6ee537a83ccdc8bc3401236"
    SAMPLES_WRITTEN = "319c31bcb69e2426a15c9814a48bcae8"
    SAMPLES_REFUSED = "7de9e5d8e8523877278f26ebf7a3f2c2"

    def fields(self, **details: object) -> dict[str, object]:
        """For `extra=`: the MESSAGE_ID, and details as fields of the journal (slot=7 is ENERGY_SLOT=7)."""
        named = {f"ENERGY_{name.upper()}": value for name, value in details.items()}
        return {"MESSAGE_ID": self.value, **named}
