"""The tear sheet of a run and its charts as pictures.

Nothing is imported here: words and inputs are needed without the charts and their libraries.
"""
