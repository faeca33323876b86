"""How far pictures lie apart, and pictures for people."""
