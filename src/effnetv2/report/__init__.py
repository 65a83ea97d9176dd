"""A run folder becomes one self-contained page; nothing here knows torch or the trainer."""
