"""How many tokens a text has and a model takes; the tables are package data (``ranks``)."""
