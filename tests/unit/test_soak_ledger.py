"""The soak's judge: a second copy is explained by an unclear answer only where the tries had no id."""

from __future__ import annotations

import pytest

from tests.system.soak_ledger import ACK, UNKNOWN, SoakLedger, compare, message


@pytest.mark.parametrize(("with_id", "explained"), [(True, 0), (False, 1)])
def test_a_second_copy_by_a_try_with_an_id_is_not_explained(with_id: bool, explained: int) -> None:
    ledger = SoakLedger()
    token = ledger.token("api", with_id)
    ledger.answer(token, UNKNOWN)
    ledger.answer(token, ACK)
    verdict = compare(ledger, [("m/new/1", message(token)), ("m/new/2", message(token))], [])
    assert (len(verdict.doubled), verdict.explained["api"]) == (1 - explained, explained)
    assert verdict.good is bool(explained)


@pytest.mark.parametrize("with_id", [True, False])
def test_one_copy_is_good_whatever_was_answered(with_id: bool) -> None:
    ledger = SoakLedger()
    token = ledger.token("api", with_id)
    for answer in (UNKNOWN, UNKNOWN, ACK):
        ledger.answer(token, answer)
    assert compare(ledger, [("m/new/1", message(token))], []).good
