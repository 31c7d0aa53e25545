"""Engines beside SaM's own: servers that a person has started, behind the same interface."""
