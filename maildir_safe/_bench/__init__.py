"""Measures how fast mail is on a mount, and what each safety costs. The plots need the extra ``bench``.

`cases.py` says what is measured, `runner.py` measures, `stats.py` reckons, `report.py` draws.
"""
