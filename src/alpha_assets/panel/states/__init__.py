"""How the rows of a feed become states: what holds of a key from some moment on.

A state that is public at an instant is made of rows that were public by then, and of no other;
a later row adds states and changes none.  Sums run in a fixed order.
"""
