"""Kept runs in other tools' formats, and a comparison's tables and figures for a paper."""
