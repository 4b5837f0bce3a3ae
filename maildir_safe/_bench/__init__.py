"""Measures how fast mail is on a mount, and what each safety costs. The plots need the extra ``bench``.

`cases.py` defines the cases, `runner.py` measures, `stats.py` computes, `report.py` writes the report.
"""
