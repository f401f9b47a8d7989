"""What the parties hand to each other, and how each is checked when it is received. Imports no party."""
