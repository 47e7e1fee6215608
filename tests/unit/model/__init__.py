"""The explorer, briefly, and the crash points one by one."""
