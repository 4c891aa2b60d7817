"""Choosing a procedure: what each does to predictability and balance, calculated before a list is made."""
