"""Cost Explorer: what its requests cost, and what promises to AWS are judged by."""

from __future__ import annotations

from datetime import timedelta

from passmuster.inventory.call import DaysAgo

SERVICE = "ce"

PRICE = 0.01
"""Dollars for one request."""

WEEK = timedelta(days=7)
"""How long an answer is good enough, because each is paid for."""

LAST_MONTH = {"Start": DaysAgo(31), "End": DaysAgo(1)}
"""Thirty days that are over."""

PROMISE = {"LookbackPeriodInDays": "THIRTY_DAYS", "TermInYears": "ONE_YEAR", "PaymentOption": "NO_UPFRONT"}
"""One year without prepayment, by the usage of thirty days."""
