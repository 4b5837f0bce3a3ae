"""How fast is mail on this mount, and what does each safety cost? Extra ``bench`` for the plots.

`cases.py` says what is measured, `runner.py` measures, `stats.py` reckons, `report.py` draws.
"""
