"""The data that parties send each other, and its checks on receipt. Imports no party."""
